package discord

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"gimletd/bot"

	"github.com/bwmarrin/discordgo"
)

// A button has 100 characters for what it is to do (custom_id). They hold the command's words. What does not fit there, and
// what is asked before, stands in the address of the message's embed, which nobody sees, for it has no title to click on.
// Neither is authority: what they say is checked like anything typed.

// Limits of components. https://docs.discord.com/developers/components/reference
const (
	maxCustomID   = 100
	maxLabel      = 80
	perRow        = 5
	maxRows       = 5
	maxButtons    = perRow * maxRows
	maxAddress    = 2048 // of an embed, in characters
	stateAddress  = "https://gimletd.invalid/#"
	maxStateBytes = 64 << 10
)

// What a press does. Capital letters say that the words are in the message's state.
const (
	runs   = "r" // the command
	asks   = "a" // once more, then runs
	sure   = "y" // the command, in answer to the question before it
	leaves = "n" // everything as it is
)

// state is what a message remembers of itself.
type state struct {
	Key   string           `json:"k,omitempty"` // by which it is found
	Asks  map[int]string   `json:"a,omitempty"` // by button
	Words map[int][]string `json:"w,omitempty"` // by button
}

// digest shortens a key to what fits a nonce of 25 characters.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:12])
}

// address packs the state into a URL. What does not fit is left out, the last buttons' first.
func (s state) address() string {
	for n := maxButtons - 1; n >= 0; n-- {
		if text := s.pack(); len(text) <= maxAddress {
			return text
		}
		delete(s.Asks, n)
		delete(s.Words, n)
	}
	return s.pack()
}

func (s state) pack() string {
	if s.Key == "" && len(s.Asks) == 0 && len(s.Words) == 0 {
		return ""
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err == nil {
		err = json.NewEncoder(w).Encode(s)
	}
	if err != nil || w.Close() != nil {
		return ""
	}
	return stateAddress + base64.RawURLEncoding.EncodeToString(packed.Bytes())
}

// readState unpacks what address has packed.
func readState(address string) (s state, ok bool) {
	text, ok := strings.CutPrefix(address, stateAddress)
	if !ok || len(address) > maxAddress {
		return s, false
	}
	packed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return s, false
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxStateBytes))
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return state{}, false
	}
	return s, true
}

// customID is the id of a button: what a press does, the button's place, and the command's words. Without words they do not fit.
func customID(kind string, place int, words []string) (id string, fits bool) {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = strings.NewReplacer(`\`, `\\`, `|`, `\|`).Replace(w)
	}
	id = kind + strconv.Itoa(place) + ":" + strings.Join(all, "|")
	if len([]rune(id)) <= maxCustomID {
		return id, true
	}
	return strings.ToUpper(kind) + strconv.Itoa(place) + ":", false
}

// press is what somebody has pressed.
type press struct {
	kind  string
	place int
	words []string
	ask   string
}

// readPress reads a button's id, with the state of its message.
func readPress(id string, s state) (p press, ok bool) {
	head, text, ok := strings.Cut(id, ":")
	if !ok || head == "" {
		return p, false
	}
	place, err := strconv.Atoi(head[1:])
	if err != nil {
		return p, false
	}
	p = press{kind: strings.ToLower(head[:1]), place: place, ask: s.Asks[place]}
	switch {
	case p.kind == leaves:
		return p, true
	case p.kind != runs && p.kind != asks && p.kind != sure:
		return p, false
	case p.kind != head[:1]:
		p.words = s.Words[place]
	default:
		p.words = splitWords(text)
	}
	return p, len(p.words) > 0 && p.words[0] != ""
}

func splitWords(text string) (words []string) {
	var word strings.Builder
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '|':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteRune(r)
		}
	}
	return append(words, word.String())
}

// rows lays buttons out, five to a row, and notes in the state what their ids cannot hold.
func rows(all []bot.Button, s *state) []discordgo.MessageComponent {
	components := []discordgo.MessageComponent{}
	var row []discordgo.MessageComponent
	for i, b := range all {
		kind := runs
		if b.Confirm != "" {
			kind = asks
			s.Asks[i] = b.Confirm
		}
		switch {
		case len(b.Args) == 0:
			kind = leaves
		case s.Key == questionKey:
			kind = sure
		}
		id, fits := customID(kind, i, b.Args)
		if !fits {
			s.Words[i] = b.Args
		}
		row = append(row, discordgo.Button{Label: bot.Cut(bot.Clean(b.Label), maxLabel), CustomID: id, Style: style(b.Tone)})
		if len(row) == perRow || i == len(all)-1 {
			components = append(components, discordgo.ActionsRow{Components: row})
			row = nil
		}
	}
	return components
}

func style(t bot.Tone) discordgo.ButtonStyle {
	switch t {
	case bot.Good:
		return discordgo.SuccessButton
	case bot.Bad:
		return discordgo.DangerButton
	case bot.Neutral, bot.Working, bot.Warning:
	}
	return discordgo.SecondaryButton
}
