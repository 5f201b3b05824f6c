package releases

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Token lets somebody, or something, call the API. The secret itself is shown once and not kept.
type Token struct {
	Name    string    `json:"name"`             // roles have it as a member: token:<name>
	Person  string    `json:"person,omitempty"` // the e-mail address of the person of the configuration whom it speaks for
	Hash    string    `json:"hash,omitempty"`   // SHA-256 of the secret, in hexadecimal
	By      string    `json:"by"`               // who made it
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Used    time.Time `json:"used,omitzero"` // to the hour
	// Repositories are the only ones that it may speak for, as globs (see Globs); empty means any.
	Repositories []string `json:"repositories,omitempty"`
}

// usedEvery is how exactly it is known when a token was used: each time that it is noted is a write.
const usedEvery = time.Hour

// tokenPrefix begins every secret, so that scanners recognise one that leaks.
const tokenPrefix = "gimletd_"

var tokenName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// HashToken is what is kept of a secret. The secret is random, so no salt is needed.
func HashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CreateToken makes a token and returns its secret, which cannot be had again.
func (s *Service) CreateToken(ctx context.Context, t Token, by Actor) (secret string, err error) {
	record := s.by(by, "token.created")
	record.Detail = strings.TrimSpace(t.Name + " " + t.Person)
	switch {
	case !by.Root:
		return "", s.refusing(ctx, record, Errorf(NotAllowed, "only the admin token may make tokens"))
	case !tokenName.MatchString(t.Name) || t.Name == adminName:
		return "", Errorf(Invalid, "name: %q is not a name of up to 63 lower-case letters, digits, '.', '_' and '-', other than %s", t.Name, adminName)
	case !t.Expires.IsZero() && !s.now().Before(t.Expires):
		return "", Errorf(Invalid, "expires: %s is over", t.Expires.Format(time.RFC3339))
	}
	if _, err := NewGlobs(t.Repositories); err != nil {
		return "", Errorf(Invalid, "repositories%v", err)
	}
	if slices.Contains(t.Repositories, "") {
		return "", Errorf(Invalid, "repositories: an empty glob matches nothing; leave it out")
	}
	secret = tokenPrefix + strings.ToLower(rand.Text()+rand.Text())
	t.Hash, t.By, t.Created = HashToken(secret), by.Name, s.now()
	err = s.store.Update(ctx, func(tx Tx) error {
		all, err := tx.Tokens()
		if err != nil {
			return err
		}
		for _, other := range all {
			if other.Name == t.Name {
				return Errorf(Conflict, "name: there is a token %q; revoke it first", t.Name)
			}
		}
		if err := tx.PutToken(t); err != nil {
			return err
		}
		return s.record(tx, record)
	})
	if err != nil {
		return "", s.refusing(ctx, record, err)
	}
	return secret, nil
}

// RevokeToken ends a token.
func (s *Service) RevokeToken(ctx context.Context, name string, by Actor) error {
	record := s.by(by, "token.revoked")
	record.Detail = name
	if !by.Root {
		return s.refusing(ctx, record, Errorf(NotAllowed, "only the admin token may revoke tokens"))
	}
	return s.store.Update(ctx, func(tx Tx) error {
		all, err := tx.Tokens()
		if err != nil {
			return err
		}
		for _, t := range all {
			if t.Name != name {
				continue
			}
			if err := tx.ClearToken(name); err != nil {
				return err
			}
			return s.record(tx, record)
		}
		return Errorf(NotFound, "there is no token %q", name)
	})
}

// adminName is whom the admin token speaks for.
const adminName = "admin"

// Admin is who the admin token speaks for: it may do everything that one alone may. It is nobody's, so it has no vote.
func Admin() Actor { return Actor{Name: adminName, Via: ViaAPI, Root: true} }

// Tokens returns the tokens, without their secrets.
func (s *Service) Tokens(ctx context.Context) (all []Token, err error) {
	err = s.store.View(ctx, func(tx Tx) error { all, err = tx.Tokens(); return err })
	return all, err
}

// Account tells the token from another one of the same name, before or after it. Tokens that a CI has made for its runs are not kept,
// so they have no hash: those of one source repository are one account.
func (t Token) Account() string {
	if t.Hash == "" {
		return t.Name + ofRuns + strings.Join(t.Repositories, ",")
	}
	return t.Name + "/" + t.Hash[:min(8, len(t.Hash))]
}

// ofRuns stands in the accounts of CIs' own tokens, after the issuer's name.
const ofRuns = "/oidc/"

// IssuerOf returns the name of the issuer whose runs have the account.
func IssuerOf(account string) (name string, ok bool) {
	name, _, ok = strings.Cut(account, ofRuns)
	return name, ok
}

// TokenLives reports whether there is a token with the account that has not expired.
func (s *Service) TokenLives(ctx context.Context, account string) (bool, error) {
	all, err := s.Tokens(ctx)
	return slices.ContainsFunc(all, func(t Token) bool { return t.Account() == account && !t.expired(s.now()) }), err
}

func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// TokenOf returns the token with the secret; NotAllowed when it is not known or has expired.
func (s *Service) TokenOf(ctx context.Context, secret string) (t *Token, err error) {
	err = s.store.View(ctx, func(tx Tx) error { t, err = tx.TokenByHash(HashToken(secret)); return err })
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return nil, Errorf(NotAllowed, "the token is not known")
	case t.expired(s.now()):
		return nil, Errorf(NotAllowed, "the token %s has expired", t.Name)
	case s.now().Sub(t.Used) >= usedEvery:
		if err := s.noteUse(ctx, *t); err != nil {
			s.log.Warn("when a token was used is not noted", "token", t.Name, "err", err)
		}
	}
	return t, nil
}

// noteUse notes that a token is used, unless it was revoked meanwhile.
func (s *Service) noteUse(ctx context.Context, t Token) error {
	return s.store.Update(ctx, func(tx Tx) error {
		now, err := tx.TokenByHash(t.Hash)
		if err != nil || now == nil {
			return err
		}
		now.Used = s.now()
		return tx.PutToken(*now)
	})
}

// rival says what another source repository has in a place, live or on its way, when who shipped the artifact does not speak for it;
// or "". Automation does not put the artifact in its place.
func rival(tx Tx, place Target, a *Shipped) (string, error) {
	by := Actor{Repositories: a.Speaks}
	if len(by.Repositories) == 0 {
		return "", nil
	}
	live, err := tx.Live(place.App, place.Env)
	if err != nil {
		return "", err
	}
	if live != nil && !by.speaks(live.Version.RepositoryName) {
		return fmt.Sprintf("%s is live from %s, for which the token that shipped this does not speak; a person may release it", place.App, live.Version.RepositoryName), nil
	}
	open, err := tx.OpenReleases()
	if err != nil {
		return "", err
	}
	for _, r := range open {
		if r.App == place.App && r.Env == place.Env && !by.speaks(r.Version.RepositoryName) {
			return fmt.Sprintf("%s of %s is on its way there (%s), for which the token that shipped this does not speak; a person may release it", r.Version.Short(), r.Version.RepositoryName, r.ID), nil
		}
	}
	return "", nil
}

// SpeaksFor returns an Error unless the actor may speak for the source repository.
func (a Actor) SpeaksFor(repository string) error {
	if a.speaks(repository) {
		return nil
	}
	return Errorf(NotAllowed, "this token speaks for %s only, not for %s", strings.Join(a.Repositories, ", "), repository)
}

func (a Actor) speaks(repository string) bool {
	globs, err := NewGlobs(a.Repositories)
	return len(a.Repositories) == 0 || (err == nil && globs.Match(repository))
}
