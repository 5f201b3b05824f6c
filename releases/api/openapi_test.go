package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestTheDocumentHasTheCallsThatThereAre compares what is routed with what is described.
func TestTheDocumentHasTheCallsThatThereAre(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var described, routed []string
	s := &Server{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			pattern := method + " " + path
			described = append(described, pattern)
			if _, free := s.open()[pattern]; free != (operation.Security != nil) {
				t.Errorf("%s: whether it takes a token is not as the document says", pattern)
			}
			if operation.Summary == "" || len(operation.Tags) != 1 || doc.Tags.Get(operation.Tags[0]) == nil {
				t.Errorf("%s has no summary, or not one tag that there is", pattern)
			}
		}
	}
	for pattern := range s.calls() {
		routed = append(routed, pattern)
	}
	for pattern := range s.open() {
		routed = append(routed, pattern)
	}
	slices.Sort(described)
	slices.Sort(routed)
	if !slices.Equal(described, routed) {
		t.Errorf("described:\n%s\nrouted:\n%s", strings.Join(described, "\n"), strings.Join(routed, "\n"))
	}
}
