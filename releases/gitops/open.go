package gitops

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
)

// open picks the backend that the URL asks for.
func open(c Config, log *slog.Logger) (backend, error) {
	endpoint, err := transport.NewEndpoint(c.URL)
	if err != nil {
		return nil, err
	}
	w := &wire{endpoint: endpoint, branch: c.Branch, log: log}
	switch endpoint.Protocol {
	case "file":
		return openLocal(strings.TrimPrefix(c.URL, "file://"), c.Branch)
	case "ssh":
		w.client = sshClient()
		if w.auth, err = sshAuth(c.Auth, endpoint); err != nil {
			return nil, err
		}
	default:
		w.oneTrip = true
		w.client = githttp.NewClient(&http.Client{Transport: wholeReports{newHTTPTransport()}})
		if c.Auth.Password != "" {
			w.auth = &githttp.BasicAuth{Username: c.Auth.Username, Password: c.Auth.Password.Reveal()}
		}
	}
	w.clone = newClone(c.Cache, c.Branch)
	return w, nil
}

func newHTTPTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // what net/http has there
	t.ResponseHeaderTimeout = netTimeout
	t.MaxIdleConnsPerHost = 4
	t.IdleConnTimeout = 2 * time.Minute
	return t
}

// isolateSSH keeps the ssh configuration of whoever runs us from redirecting where we push.
var isolateSSH = sync.OnceFunc(func() { gitssh.DefaultSSHConfig = nil }) //nolint:gochecknoglobals // go-git's only switch for it

func sshClient() transport.Transport {
	isolateSSH()
	return gitssh.NewClient(nil)
}

// timedKeys are public keys with a bound on how long connecting may take; go-git sets none.
type timedKeys struct{ *gitssh.PublicKeys }

// ClientConfig implements go-git's ssh auth.
func (k timedKeys) ClientConfig() (*ssh.ClientConfig, error) {
	c, err := k.PublicKeys.ClientConfig()
	if err == nil {
		c.Timeout = 20 * time.Second
	}
	return c, err
}

func sshAuth(c AuthConfig, endpoint *transport.Endpoint) (transport.AuthMethod, error) {
	user := endpoint.User
	if user == "" {
		user = "git"
	}
	key, err := os.ReadFile(c.SSHKeyFile)
	if err != nil {
		return nil, fmt.Errorf("auth.sshKeyFile: %w", err)
	}
	auth, err := gitssh.NewPublicKeys(user, key, "")
	if err != nil {
		return nil, fmt.Errorf("auth.sshKeyFile: %s: %w", c.SSHKeyFile, err)
	}
	if _, err := os.Stat(c.KnownHostsFile); err != nil {
		return nil, fmt.Errorf("auth.knownHostsFile: %w", err)
	}
	hosts, err := gitssh.NewKnownHostsDb(c.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("auth.knownHostsFile: %w", err)
	}
	port := endpoint.Port
	if port == 0 {
		port = gitssh.DefaultPort
	}
	auth.HostKeyCallback = hosts.HostKeyCallback()
	auth.HostKeyAlgorithms = hosts.HostKeyAlgorithms(fmt.Sprintf("%s:%d", endpoint.Host, port))
	return timedKeys{auth}, nil
}
