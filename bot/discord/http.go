package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"
)

// Limits of what comes in.
const (
	maxBody = 512 << 10 // bytes; a click carries the whole message
	maxSkew = 5 * time.Minute
)

// Handler answers Discord's calls at /discord/interactions. Each is verified before anything of it is read.
// https://docs.discord.com/developers/interactions/overview#preparing-for-interactions
func (d *Discord) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /discord/interactions", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err := d.verify(r, body); err != nil {
			d.log.Warn("a call was refused", "err", err)
			http.Error(w, "not signed by Discord, or not now", http.StatusUnauthorized)
			return
		}
		a, _, err := d.safely(r.Context(), body)
		if err != nil {
			d.log.Warn("an interaction was not taken", "err", err)
			http.Error(w, "not taken", statusOf(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	})
	return mux
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, errMalformed):
		return http.StatusBadRequest
	case errors.Is(err, errForeign):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// verify checks the signature over timestamp and raw body, its age, and that it was not there before.
func (d *Discord) verify(r *http.Request, body []byte) error {
	timestamp := r.Header.Get("X-Signature-Timestamp")
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("it has no timestamp")
	}
	if age := d.now().Sub(time.Unix(at, 0)); age > maxSkew || age < -maxSkew {
		return fmt.Errorf("it is of %s ago", age.Round(time.Second))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !discordgo.VerifyInteraction(r, d.config.PublicKey) {
		return errors.New("the signature is wrong")
	}
	if d.replays.Again(strings.ToLower(r.Header.Get("X-Signature-Ed25519")), d.now()) {
		return errors.New("it was there before")
	}
	return nil
}

// safely turns a panic over a strange interaction into an error.
func (d *Discord) safely(ctx context.Context, raw []byte) (a answer, i interaction, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("an interaction made me panic", "panic", p)
			a, err = answer{}, errors.New("discord: an interaction made me panic")
		}
	}()
	return d.interact(ctx, raw)
}
