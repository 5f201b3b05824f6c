package releases

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is an entry of the audit: who did what, by which door, and what came of it. Each holds the hash of the one
// before, so that none can be changed, removed or moved without it showing.
type Record struct {
	Seq      uint64    `json:"seq"` // 1, 2, 3 …
	At       time.Time `json:"at"`
	Action   string    `json:"action"`
	Actor    string    `json:"actor"`
	Person   string    `json:"person,omitempty"`  // their identity, whatever name they go by
	Door     string    `json:"door"`              // console, slack, api, policy; gimletd for what it does by itself
	Account  string    `json:"account,omitempty"` // there: a user's id, a token's name
	Roles    []string  `json:"roles,omitempty"`
	Release  string    `json:"release,omitempty"`
	App      string    `json:"app,omitempty"`
	Env      string    `json:"env,omitempty"`
	Artifact string    `json:"artifact,omitempty"`
	Digest   string    `json:"digest,omitempty"` // of the plan
	Commit   string    `json:"commit,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Refused  string    `json:"refused,omitempty"` // why it was not done; "" when it was
	Prev     string    `json:"prev"`              // hash of the record before; of the first, 64 zeros
	Hash     string    `json:"hash"`              // SHA-256 of this record as JSON without it, in hexadecimal
}

// genesis stands in the place of the hash before the first record's.
var genesis = strings.Repeat("0", 2*sha256.Size) //nolint:gochecknoglobals // a constant

// Seal puts the record after the other one: it gets its number and hashes.
func (r Record) Seal(after Record) (Record, error) {
	r.Seq, r.Prev = after.Seq+1, after.Hash
	if after.Seq == 0 {
		r.Prev = genesis
	}
	r.At, r.Hash = r.At.UTC(), ""
	line, err := json.Marshal(r)
	if err != nil {
		return r, err
	}
	r = Record{}
	if err := json.Unmarshal(line, &r); err != nil { // as it will be read: what is no UTF-8 has changed
		return r, err
	}
	r.Hash, err = r.hash()
	return r, err
}

func (r Record) hash() (string, error) {
	r.Hash = ""
	line, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:]), nil
}

// Head is the record as it is anchored in a commit.
func (r Record) Head() string { return strconv.FormatUint(r.Seq, 10) + " " + r.Hash }

// Anchor is a record's number and hash as they stand in a place that who changes the audit does not reach: a commit.
type Anchor struct {
	Seq    uint64
	Hash   string
	Commit string
	At     time.Time // when it was committed
}

// ParseAnchor reads what Head has written.
func ParseAnchor(text, commit string) (Anchor, bool) {
	seq, hash, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.ParseUint(seq, 10, 64)
	return Anchor{Seq: n, Hash: hash, Commit: commit}, err == nil && n > 0 && len(hash) == 2*sha256.Size
}

// ErrUnread says that an audit could not be read to its end, so nothing is known of it.
var ErrUnread = errors.New("the audit cannot be read")

// VerifyAudit checks a chain of records, one line of JSON each, from the first on, against its head and against anchors.
// The error names the first record that is wrong.
func VerifyAudit(lines iter.Seq2[[]byte, error], head *Anchor, anchors []Anchor) (n uint64, err error) {
	expected := map[uint64][]Anchor{}
	for _, a := range anchors {
		expected[a.Seq] = append(expected[a.Seq], a)
	}
	var last Record
	for line, err := range lines {
		if err != nil {
			return last.Seq, fmt.Errorf("%w after record %d: %w", ErrUnread, last.Seq, err)
		}
		r, err := verifyRecord(line, last)
		if err != nil {
			return last.Seq, err
		}
		for _, a := range expected[r.Seq] {
			if a.Hash != r.Hash {
				return last.Seq, fmt.Errorf("record %d is not the one that commit %s anchors: the audit was replaced up to there, or a backup was restored and went on", r.Seq, ShortSHA(a.Commit))
			}
		}
		last = r
	}
	if head != nil && (head.Seq != last.Seq || head.Hash != last.Hash) {
		return last.Seq, fmt.Errorf("record %d is missing: the audit ends at %d, and its head is %d", last.Seq+1, last.Seq, head.Seq)
	}
	for _, a := range anchors {
		if a.Seq > last.Seq {
			return last.Seq, fmt.Errorf("record %d is missing: the audit ends at %d, and commit %s anchors %d: it was cut off, or a backup was restored", last.Seq+1, last.Seq, ShortSHA(a.Commit), a.Seq)
		}
	}
	return last.Seq, nil
}

func verifyRecord(line []byte, last Record) (r Record, err error) {
	wanted := last.Seq + 1
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("record %d cannot be read: %w", wanted, err)
	}
	if again, err := json.Marshal(r); err != nil || !bytes.Equal(again, bytes.TrimSpace(line)) {
		return r, fmt.Errorf("record %d is not as it was written", wanted)
	}
	prev := last.Hash
	if last.Seq == 0 {
		prev = genesis
	}
	hash, err := r.hash()
	switch {
	case err != nil:
		return r, err
	case r.Seq != wanted:
		return r, fmt.Errorf("record %d is missing or out of order: record %d stands in its place", wanted, r.Seq)
	case r.Prev != prev:
		return r, fmt.Errorf("record %d does not follow the one before it", wanted)
	case r.Hash != hash:
		return r, fmt.Errorf("record %d was changed: its hash does not fit it", wanted)
	}
	return r, nil
}

// AuditQuery selects records; zero fields do not restrict.
type AuditQuery struct {
	App, Env, Release string
	Limit             int // 0 means 10
}

// itself is the actor of what the process does without being asked.
func itself() Actor { return Actor{Name: "gimletd", Via: "gimletd"} }

// by begins a record of something that the actor does.
func (s *Service) by(a Actor, action string) Record {
	r := Record{At: s.now(), Action: action, Actor: a.Name, Door: a.Via, Account: a.User, Roles: a.Roles}
	if a.Person != "" {
		r.Person = a.Person
	}
	return r
}

// about completes a record with the release.
func (r Record) about(of Release) Record {
	r.Release, r.App, r.Env, r.Artifact, r.Commit = of.ID, of.App, of.Env, of.ArtifactID, of.Commit
	if of.Plan != nil {
		r.Digest = of.Plan.Digest
	}
	return r
}

// record appends to the audit.
func (s *Service) record(tx Tx, r Record) error {
	last, err := tx.LastRecord()
	if err != nil {
		return err
	}
	r.Detail, r.Refused = recorded(r.Detail), recorded(r.Refused)
	sealed, err := r.Seal(last)
	if err != nil {
		return err
	}
	return tx.PutRecord(sealed)
}

// recorded is a text as the audit keeps it.
func recorded(text string) string {
	const most = 2000
	if text = Redact(text); utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}

// refusing writes what was refused into the audit and returns the error as it is. What is only misspelt is no refusal.
func (s *Service) refusing(ctx context.Context, r Record, err error) error {
	switch KindOf(err) {
	case NotAllowed, Conflict, Stale, Unavailable:
	default:
		return err
	}
	r.Refused = err.Error()
	ctx = context.WithoutCancel(ctx) // who asked may have gone: it was refused all the same
	if failed := s.store.Update(ctx, func(tx Tx) error { return s.record(tx, r) }); failed != nil {
		s.log.Error("a refusal is not in the audit", "action", r.Action, "actor", r.Actor, "err", failed)
	}
	return err
}

// Audit returns the newest records that match, newest first.
func (s *Service) Audit(ctx context.Context, q AuditQuery) (found []Record, err error) {
	const scanned = 20_000
	if q.Limit <= 0 {
		q.Limit = 10
	}
	err = s.store.View(ctx, func(tx Tx) error {
		last, err := tx.LastRecord()
		if err != nil {
			return err
		}
		for line, err := range tx.AuditBack(last.Seq) {
			var r Record
			if err == nil {
				err = json.Unmarshal(line, &r)
			}
			if err != nil {
				return err
			}
			if (q.App == "" || r.App == q.App) && (q.Env == "" || r.Env == q.Env) && (q.Release == "" || r.Release == q.Release) {
				found = append(found, r)
			}
			if len(found) == q.Limit || last.Seq-r.Seq > scanned {
				return nil
			}
		}
		return nil
	})
	return found, err
}

// AuditLines returns up to limit records after a number as they are stored, and the audit's head.
func (s *Service) AuditLines(ctx context.Context, after uint64, limit int) (lines [][]byte, head Anchor, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		last, err := tx.LastRecord()
		if err != nil {
			return err
		}
		head = Anchor{Seq: last.Seq, Hash: last.Hash}
		const most = 4 << 20 // bytes
		size := 0
		for line, err := range tx.AuditFrom(after + 1) {
			if err != nil {
				return err
			}
			size += len(line)
			if lines = append(lines, bytes.Clone(line)); len(lines) == limit || size > most {
				return nil
			}
		}
		return nil
	})
	return lines, head, err
}
