package api

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"sync"

	"sigs.k8s.io/yaml"
)

// openAPI describes the calls. https://spec.openapis.org/oas/v3.0.3
//
//go:embed openapi.yaml
var openAPI []byte

// describe answers with the description. It is no secret, so it takes no token.
func (s *Server) describe() http.Handler {
	asJSON := sync.OnceValues(func() (json.RawMessage, error) { return yaml.YAMLToJSON(openAPI) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := asJSON()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.write(w, http.StatusOK, text)
	})
}
