package gitops

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// signer signs the bytes of a commit; what it returns goes into the commit's gpgsig header.
type signer interface {
	sign(message []byte) (string, error)
}

// sshSigner makes SSH signatures (OpenSSH PROTOCOL.sshsig) in git's namespace; `git verify-commit` reads them.
type sshSigner struct{ key ssh.Signer }

func newSSHSigner(path string) (*sshSigner, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the path comes from the configuration
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return nil, fmt.Errorf("%s: the key has a passphrase; a key for a server must have none", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not an SSH private key: %w", path, err)
	}
	return &sshSigner{key: key}, nil
}

const (
	sigNamespace = "git"
	sigHash      = "sha512"
)

func (s *sshSigner) sign(message []byte) (string, error) {
	sum := sha512.Sum512(message)
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{
		sigNamespace, "", sigHash, string(sum[:]),
	})...)
	signature, err := s.signRaw(signed)
	if err != nil {
		return "", err
	}
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                                         uint32
		PublicKey, Namespace, Reserved, Hash, Signature string
	}{1, string(s.key.PublicKey().Marshal()), sigNamespace, "", sigHash, string(ssh.Marshal(signature))})...)
	return armor(blob), nil
}

// signRaw uses SHA-512 with RSA keys: the SHA-1 that "ssh-rsa" means by default is refused by every reader.
func (s *sshSigner) signRaw(data []byte) (*ssh.Signature, error) {
	random := rand.Reader
	if algorithms, ok := s.key.(ssh.AlgorithmSigner); ok && s.key.PublicKey().Type() == ssh.KeyAlgoRSA {
		return algorithms.SignWithAlgorithm(random, data, ssh.KeyAlgoRSASHA512)
	}
	return s.key.Sign(random, data)
}

// armor is PEM with the line length of 70 that OpenSSH writes.
func armor(blob []byte) string {
	const line = 70
	var out strings.Builder
	out.WriteString("-----BEGIN SSH SIGNATURE-----\n")
	text := base64.StdEncoding.EncodeToString(blob)
	for len(text) > line {
		out.WriteString(text[:line] + "\n")
		text = text[line:]
	}
	out.WriteString(text + "\n-----END SSH SIGNATURE-----\n")
	return out.String()
}
