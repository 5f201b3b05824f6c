package releases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gimletd/releases"
)

// FuzzAudit seals records of any text, and reads any text as one.
func FuzzAudit(f *testing.F) {
	f.Add("ada", "looking at a leak", []byte(`{"seq":1}`))
	f.Add("\xff\xfe", "a\u2028<b>&\x00", []byte("null"))
	f.Add("", strings.Repeat("x", 5000), []byte(`{"seq":1,"at":"2026-01-01T00:00:00Z","action":"a","actor":"b","door":"c","prev":"","hash":""}`))
	f.Fuzz(func(t *testing.T, actor, detail string, line []byte) {
		var lines [][]byte
		last := releases.Record{}
		for range 3 {
			r, err := releases.Record{At: time.Unix(1, 2), Action: "act", Actor: actor, Door: "slack", Detail: detail}.Seal(last)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			lines, last = append(lines, text), r
		}
		verify := func(all [][]byte) (uint64, error) {
			return releases.VerifyAudit(func(yield func([]byte, error) bool) {
				for _, l := range all {
					if !yield(l, nil) {
						return
					}
				}
			}, &releases.Anchor{Seq: last.Seq, Hash: last.Hash}, nil)
		}
		if n, err := verify(lines); err != nil || n != 3 {
			t.Fatalf("%d: %v", n, err)
		}
		if n, err := verify([][]byte{lines[0], line, lines[2]}); err == nil && string(line) != string(lines[1]) {
			t.Fatalf("another record is taken for the second of %d: %s", n, line)
		}
		if a, ok := releases.ParseAnchor(last.Head(), "c"); !ok || a.Seq != 3 || a.Hash != last.Hash {
			t.Fatalf("%s is read as %+v", last.Head(), a)
		}
		releases.ParseAnchor(actor, detail)
	})
}
