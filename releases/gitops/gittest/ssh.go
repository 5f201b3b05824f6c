package gittest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// SSHServer is a git server over SSH with the files that a client needs.
type SSHServer struct {
	URL        string // ssh://git@127.0.0.1:port, without a path
	Root       string
	KeyFile    string // the client's private key
	KnownHosts string // knows the server
	Strangers  string // a known_hosts file that knows another key for it
}

// ServeSSH serves the repositories in a new folder.
func ServeSSH(tb testing.TB) *SSHServer {
	tb.Helper()
	s := &SSHServer{Root: tb.TempDir()}
	keys := tb.TempDir()
	host, other := newKey(tb), newKey(tb)
	client := newKey(tb)
	s.KeyFile = filepath.Join(keys, "id")
	write(tb, s.KeyFile, string(client.pem))
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.signer.PublicKey().Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil //nolint:nilnil // ssh means "no restrictions"
	}}
	config.AddHostKey(host.signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	name, port := hostPort(listener)
	s.URL = "ssh://git@" + name + ":" + port
	s.KnownHosts, s.Strangers = filepath.Join(keys, "known"), filepath.Join(keys, "strangers")
	write(tb, s.KnownHosts, fmt.Sprintf("[%s]:%s %s", name, port, ssh.MarshalAuthorizedKey(host.signer.PublicKey())))
	write(tb, s.Strangers, fmt.Sprintf("[%s]:%s %s", name, port, ssh.MarshalAuthorizedKey(other.signer.PublicKey())))
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, config)
		}
	}()
	return s
}

type keyPair struct {
	signer ssh.Signer
	pem    []byte
}

// NewKey writes a new ed25519 private key to a file and returns its path and the public key as a line.
func NewKey(tb testing.TB) (path, public string) {
	tb.Helper()
	key := newKey(tb)
	path = filepath.Join(tb.TempDir(), "key")
	write(tb, path, string(key.pem))
	return path, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.signer.PublicKey())))
}

func newKey(tb testing.TB) keyPair {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		tb.Fatal(err)
	}
	return keyPair{signer, pem.EncodeToMemory(block)}
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func (s *SSHServer) serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

// session runs `git-receive-pack '/repo.git'` and the like.
func (s *SSHServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for req := range requests {
		if req.Type != "exec" {
			_ = req.Reply(req.Type == "env", nil)
			continue
		}
		_ = req.Reply(true, nil)
		command := string(req.Payload[4:])
		name, path, _ := strings.Cut(command, " ")
		path = filepath.Join(s.Root, strings.Trim(path, "'"))
		cmd := exec.Command("git", strings.TrimPrefix(name, "git-"), path)
		cmd.Env, cmd.Stdout, cmd.Stderr = Env(), channel, channel.Stderr()
		status := uint32(0)
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			status = 127
		} else {
			go func() {
				buffer := make([]byte, 32<<10)
				for {
					n, err := channel.Read(buffer)
					if n > 0 {
						if _, err := in.Write(buffer[:n]); err != nil {
							break
						}
					}
					if err != nil {
						break
					}
				}
				_ = in.Close()
			}()
			if cmd.Wait() != nil {
				status = 1
			}
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}
