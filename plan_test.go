package main

import (
	"strings"
	"testing"
	"testing/synctest"

	"gimletd/releases"
)

// TestOneChartDoesNotStopTheOthers releases something whose chart makes the renderer panic, and then, after a restart, something else.
func TestOneChartDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, []releases.Environment{{Name: "staging", Repository: "main", Path: "staging"}}, nil)
		defer w.end()
		w.start()
		for _, app := range []string{"unforeseen", "web"} {
			a := w.ship(app, releases.Version{Branch: "main"}, nil)
			made, err := w.service.Propose(t.Context(), releases.Ask{App: app, Env: "staging", ArtifactID: a.ID, By: root})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r, err := w.service.Release(t.Context(), made[0].ID)
			switch {
			case err != nil:
				t.Fatal(err)
			case app == "web" && r.Status != releases.Published:
				t.Errorf("%s is %s: %s", app, r.Status, r.Reason)
			case app != "web" && (r.Status != releases.Failed || !strings.Contains(r.Reason, "its log says where")):
				t.Errorf("%s is %s: %s", app, r.Status, r.Reason)
			}
			w.stop()
			w.start()
		}
		w.stop()
	})
}
