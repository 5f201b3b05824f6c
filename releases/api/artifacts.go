package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gimletd/releases"
)

// postArtifact takes an artifact in. What was shipped before is answered with 200 instead of 201.
func (s *Server) postArtifact(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := read(r)
	if err != nil {
		return 0, nil, err
	}
	a, err := releases.DecodeArtifact(body)
	if err != nil {
		return 0, nil, err
	}
	shipped, isNew, err := s.service.Ingest(r.Context(), a, r.Header.Get("Idempotency-Key"), caller(r))
	if err != nil {
		return 0, nil, err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	return status, shipped.Artifact, nil
}

// read reads a body whole. One that is too large or that breaks off has its own error.
func read(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fmt.Errorf("the body is larger than %d KiB: %w", tooLarge.Limit>>10, tooLarge)
	}
	if err != nil {
		return nil, releases.Wrap(releases.Invalid, err, "the body breaks off after %d bytes", len(body))
	}
	return body, nil
}

func (s *Server) getArtifacts(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	params := query{values: r.URL.Query()}
	q := releases.ArtifactQuery{
		Repository: params.text("repository"), Branch: params.text("branch"), Event: params.event(),
		SourceBranch: params.text("sourceBranch"), Tag: params.text("tag"), SHAs: params.values["sha"],
		Target: releases.Target{App: params.text("app"), Env: params.text("env")}, Within: caller(r).Repositories,
		Since: params.time("since"), Until: params.time("until"), Limit: params.number("limit", maxLimit), Offset: params.number("offset", maxOffset),
	}
	if params.err != nil {
		return 0, nil, params.err
	}
	if q.Event == releases.EventPush && (q.Branch == "" || q.Branch == q.SourceBranch) && q.SourceBranch != "" {
		q.Branch, q.SourceBranch = q.SourceBranch, "" // a push comes from its branch
	}
	artifacts, err := s.pageOf(r.Context(), q)
	return http.StatusOK, artifacts, err
}

// pageOf reads artifacts until there are enough, or they are too much for one answer.
func (s *Server) pageOf(ctx context.Context, q releases.ArtifactQuery) ([]json.RawMessage, error) {
	left, size, page, atOnce := q.Limit, 0, []json.RawMessage{}, 20
	if left == 0 {
		left = defaultLimit
	}
	for left > 0 {
		q.Limit = min(left, atOnce)
		found, err := s.service.Artifacts(ctx, q)
		if err != nil {
			return nil, err
		}
		if q.Until.IsZero() && len(found) > 0 { // what comes in meanwhile moves nothing
			q.Until = found[0].Key.Time()
		}
		for _, a := range found {
			a.Version = readable(a.Version)
			text, err := json.Marshal(a.Artifact)
			if err != nil {
				return nil, err
			}
			if size += len(text); size > maxPage && len(page) > 0 {
				return page, nil
			}
			page = append(page, text)
		}
		if len(found) < q.Limit {
			break
		}
		left -= len(found)
		q.Offset += len(found)
		atOnce = min(2*atOnce, (maxPage-size)/(size/len(page)+1)+1) // as many as may fit
	}
	return page, nil
}

// Limits of a page.
const (
	defaultLimit = 10
	maxLimit     = 1000
	maxOffset    = 1_000_000
	maxPage      = 16 << 20 // bytes of artifacts
)

// cut leaves the page of a list that the call asks for.
func cut[T any](r *http.Request, all []T) ([]T, error) {
	params := query{values: r.URL.Query()}
	limit, offset := params.number("limit", maxLimit), params.number("offset", maxOffset)
	if limit == 0 {
		limit = maxLimit
	}
	all = all[min(offset, len(all)):]
	return list(all[:min(limit, len(all))]), params.err
}

// query reads parameters and keeps the first fault.
type query struct {
	values url.Values
	err    error
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) required(name string) string {
	text := q.values.Get(name)
	if text == "" {
		q.fault(name, "missing")
	}
	return text
}

func (q *query) fault(name, format string, args ...any) {
	if q.err == nil {
		q.err = releases.Errorf(releases.Invalid, "%s: %s", name, fmt.Sprintf(format, args...))
	}
}

// statuses are those of releases: published ones, unless others are named, or any.
func (q *query) statuses() []releases.Status {
	switch text := q.values.Get("status"); text {
	case "":
		return []releases.Status{releases.Published}
	case "any":
		return nil
	default:
		return []releases.Status{releases.Status(text)}
	}
}

func (q *query) number(name string, most int) int {
	text := q.values.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		q.fault(name, "%q is not a number from 0 to %d", text, most)
	}
	return n
}

func (q *query) time(name string) time.Time {
	text := q.values.Get(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.fault(name, "%q is not a time like 2006-01-02T15:04:05Z (RFC 3339)", text)
	}
	return t
}

func (q *query) event() releases.Event {
	event := releases.Event(q.values.Get("event"))
	switch event {
	case "", releases.EventPush, releases.EventTag, releases.EventPR:
		return event
	}
	q.fault("event", "unknown event %q: expected push, tag or pr", event)
	return ""
}
