package discordtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

// callback takes the first answer to an interaction that came by the gateway.
func (s *Server) callback(r *http.Request, body []byte) (any, *problem) {
	i := s.interactions[r.PathValue("token")]
	if i == nil || i.id != r.PathValue("id") {
		return nil, unknown(10062, "interaction")
	}
	return nil, s.respond(i, body)
}

// respond does what the first answer says. The lock is held.
func (s *Server) respond(i *interaction, body []byte) *problem {
	var a struct {
		Type int             `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	took := time.Since(i.made)
	switch {
	case i.acked:
		return &problem{http.StatusBadRequest, 40060, "Interaction has already been acknowledged."}
	case took > ackWithin:
		return unknown(10062, "interaction")
	case json.Unmarshal(body, &a) != nil:
		return invalid("the answer cannot be read")
	}
	ack := Ack{Status: http.StatusOK, Type: a.Type, Took: took}
	fits := map[int][]int{commandKind: {showMessage, showLater}, componentKind: {showMessage, showLater, updateLater, updateMessage}, autocompleteKind: {suggest}}
	if !slices.Contains(fits[i.kind], a.Type) {
		return invalid(fmt.Sprintf("an answer of type %d to an interaction of type %d", a.Type, i.kind))
	}
	var refused *problem
	switch a.Type {
	case showMessage:
		var p Payload
		if p, refused = s.payload(a.Data); refused == nil {
			ack.Message = s.alone(i, p, false)
		}
	case showLater:
		var p Payload
		_ = json.Unmarshal(a.Data, &p)
		ack.Message = s.alone(i, p, true)
	case updateLater:
		i.original = i.source
	case updateMessage:
		var p Payload
		if p, refused = s.payload(a.Data); refused == nil {
			if i.source.only == "" {
				s.wrong("a click changes what everybody sees before it is done")
			}
			i.source.Payload, i.original, ack.Message = p, i.source, i.source
		}
	case suggest:
		ack.Choices, refused = s.choices(a.Data)
	}
	if refused != nil {
		return refused
	}
	if ack.Message != nil {
		i.original = ack.Message
	}
	i.acked, i.ack = true, ack
	s.Ring()
	return nil
}

// alone shows a message to the person of the interaction. The lock is held.
func (s *Server) alone(i *interaction, p Payload, loading bool) *Message {
	if p.Flags != ephemeral {
		s.wrong("an answer that everybody would see: %s", p.Content)
	}
	return s.post(i.channel, &Message{Payload: p, only: i.user.ID, loading: loading})
}

func (s *Server) choices(data []byte) ([]Choice, *problem) {
	var d struct {
		Choices *[]Choice `json:"choices"`
	}
	if json.Unmarshal(data, &d) != nil || d.Choices == nil || len(*d.Choices) > 25 {
		s.wrong("suggestions are refused: %s", data)
		return nil, invalid("choices")
	}
	for _, c := range *d.Choices {
		if n := utf8.RuneCountInString(c.Name); n == 0 || n > 100 || c.Value == "" || utf8.RuneCountInString(c.Value) > 100 {
			s.wrong("a suggestion is refused: %q %q", c.Name, c.Value)
			return nil, invalid("choice")
		}
	}
	return *d.Choices, nil
}

// answered finds the interaction of a token that was answered and still is good. The lock is held.
func (s *Server) answered(r *http.Request) (*interaction, *problem) {
	i := s.interactions[r.PathValue("token")]
	switch {
	case r.PathValue("app") != ApplicationID, i == nil, !i.acked:
		return nil, unknown(10015, "Webhook")
	case time.Since(i.made) > interactionLife:
		return nil, &problem{http.StatusUnauthorized, 50027, "Invalid Webhook Token"}
	}
	return i, nil
}

// original is the message that first answered an interaction.
func (s *Server) original(r *http.Request) (*Message, *problem) {
	i, refused := s.answered(r)
	if refused != nil {
		return nil, refused
	}
	if i.original == nil || i.original.deleted {
		return nil, unknown(10008, "Message")
	}
	if i.original.only == "" {
		s.wrong("an answer for one person changes or deletes what everybody sees")
	}
	return i.original, nil
}

func (s *Server) editOriginal(r *http.Request, body []byte) (any, *problem) {
	m, refused := s.original(r)
	if refused != nil {
		return nil, refused
	}
	p, refused := s.payload(body)
	if refused != nil {
		return nil, refused
	}
	m.Payload, m.loading = p, false
	s.settle(m)
	s.Ring()
	return m.wire(), nil
}

func (s *Server) deleteOriginal(r *http.Request, _ []byte) (any, *problem) {
	m, refused := s.original(r)
	if refused != nil {
		return nil, refused
	}
	m.deleted = true
	s.Ring()
	return nil, nil
}

func (s *Server) followUp(r *http.Request, body []byte) (any, *problem) {
	i, refused := s.answered(r)
	if refused != nil {
		return nil, refused
	}
	p, refused := s.payload(body)
	if refused != nil {
		return nil, refused
	}
	return s.alone(i, p, false).wire(), nil
}
