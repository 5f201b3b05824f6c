package manifest

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"gimletd/releases"
)

// Source is a place where charts may come from: an http(s) repository, a path in an OCI registry (oci://), a git repository
// (https://….git or ssh://….git), or a folder on this machine (file://).
type Source struct {
	URL            string          `yaml:"url"`
	Username       string          `yaml:"username"`
	Password       releases.Secret `yaml:"password"`
	PasswordFile   string          `yaml:"passwordFile"`
	SSHKeyFile     string          `yaml:"sshKeyFile"`
	KnownHostsFile string          `yaml:"knownHostsFile"`
	// Keyring is a file of public PGP keys. With it, only charts are taken that one of them has signed.
	Keyring string `yaml:"keyring"`
}

// Validate returns the first fault.
func (s Source) Validate() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		return fmt.Errorf("url: %w", err)
	case s.URL == "":
		return errors.New("url: missing")
	case secretIn(u):
		return errors.New("url: has credentials in it; use username and passwordFile")
	case strings.HasSuffix(u.Path, ".git") && ((u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh") || u.RawQuery != ""):
		return fmt.Errorf("url: %q: a git repository of charts is named by https:// or ssh:// and without a folder in it", s.URL)
	case s.Keyring != "" && strings.HasSuffix(u.Path, ".git"):
		return errors.New("keyring: charts in git repositories have no signatures of Helm's")
	case s.Keyring != "" && readable(s.Keyring) != nil:
		return fmt.Errorf("keyring: %w", readable(s.Keyring))
	case u.Scheme == "ssh" && !strings.HasSuffix(u.Path, ".git"):
		return fmt.Errorf("url: %q: over ssh there are git repositories, whose names end in .git", s.URL)
	case u.Scheme == "ssh" && s.SSHKeyFile == "":
		return errors.New("sshKeyFile: missing; a repository over ssh needs a key")
	case u.Scheme == "ssh" && s.KnownHostsFile == "":
		return errors.New("knownHostsFile: missing; a repository over ssh needs the host's key (ssh-keyscan)")
	case u.Scheme == "ssh":
	case u.Scheme == "oci" && (u.Host == "" || u.RawQuery != "" || strings.ContainsAny(u.Path, ":@")):
		return fmt.Errorf("url: %q is not a registry and a path in it, such as oci://ghcr.io/acme/charts", s.URL)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "oci" && u.Scheme != "file":
		return fmt.Errorf("url: %q must begin with https://, http://, oci:// or file://", s.URL)
	case u.Scheme == "file" && !filepath.IsAbs(u.Path):
		return fmt.Errorf("url: %q must be an absolute path", s.URL)
	}
	return nil
}
