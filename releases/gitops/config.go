package gitops

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"gimletd/releases"

	"github.com/go-git/go-git/v5/plumbing/transport"
)

// Config is one GitOps repository.
type Config struct {
	URL       string          `yaml:"url"`    // ssh, https, http, or a path on this machine
	Branch    string          `yaml:"branch"` // default main
	Cache     string          `yaml:"cache"`  // folder of the bare clone; not used for a path on this machine
	Auth      AuthConfig      `yaml:"auth"`
	Committer CommitterConfig `yaml:"committer"`
	Signing   SigningConfig   `yaml:"signing"`
}

// AuthConfig is how the remote knows us: an SSH key with known hosts, or a user name and a password or token.
type AuthConfig struct {
	SSHKeyFile     string          `yaml:"sshKeyFile"`
	KnownHostsFile string          `yaml:"knownHostsFile"`
	Username       string          `yaml:"username"`
	Password       releases.Secret `yaml:"password"`
	PasswordFile   string          `yaml:"passwordFile"`
}

// CommitterConfig is who the commits are by.
type CommitterConfig struct {
	Name  string `yaml:"name"`
	Email string `yaml:"email"`
}

// SigningConfig is what the commits are signed with; empty means unsigned.
type SigningConfig struct {
	SSHKeyFile string `yaml:"sshKeyFile"`
}

// WithDefaults fills in what the configuration left out. name is the repository's name in it, dataDir where state
// is kept.
func (c Config) WithDefaults(name, dataDir string) Config {
	if c.Branch == "" {
		c.Branch = "main"
	}
	if c.Cache == "" {
		c.Cache = filepath.Join(dataDir, "gitops-"+name+".git")
	}
	if c.Committer.Name == "" {
		c.Committer.Name = "GimletD"
	}
	if c.Committer.Email == "" {
		c.Committer.Email = "gimletd@localhost"
	}
	if c.Auth.Username == "" && c.Auth.Password != "" {
		c.Auth.Username = "x-access-token" // what GitHub and GitLab take beside a token
	}
	return c
}

// Validate returns all faults, each beginning with its key.
func (c Config) Validate() error {
	if c.URL == "" {
		return errors.New("url: missing")
	}
	endpoint, err := transport.NewEndpoint(c.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	var faults []error
	switch endpoint.Protocol {
	case "ssh":
		if c.Auth.SSHKeyFile == "" {
			faults = append(faults, errors.New("auth.sshKeyFile: missing; a repository over ssh needs a key"))
		}
		if c.Auth.KnownHostsFile == "" {
			faults = append(faults, errors.New("auth.knownHostsFile: missing; a repository over ssh needs the host's key (ssh-keyscan)"))
		}
	case "http", "https":
		if endpoint.Password != "" || endpoint.User != "" {
			faults = append(faults, errors.New("url: has credentials in it; use auth.username and auth.passwordFile"))
		}
	case "file":
	default:
		faults = append(faults, fmt.Errorf("url: %s is not supported; use ssh, https, http or a path", endpoint.Protocol))
	}
	if strings.ContainsAny(c.Branch, " ~^:?*[\\") || strings.Contains(c.Branch, "..") {
		faults = append(faults, fmt.Errorf("branch: %q cannot be a branch's name", c.Branch))
	}
	return errors.Join(faults...)
}
