package releases

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// File is one file of a release's folder.
type File struct {
	Path    string `json:"path"` // a plain name such as deployment.yaml
	Content []byte `json:"content"`
}

// Plan is the immutable answer to a request: what the folder becomes, on which base, and what that changes.
type Plan struct {
	Base     string   `json:"base"`               // the repository's commit when it was made
	BaseTree string   `json:"baseTree,omitempty"` // hash of the folder's tree then; "" when there was no folder
	Digest   string   `json:"digest"`             // of all that would be committed
	Changes  []Change `json:"changes"`            // by object, for people
	Unstable []string `json:"unstable,omitempty"` // files that render differently each time
	Commits  int      `json:"commits,omitempty"`  // how many it brings at once, as far as artifacts were shipped for them
	Back     []string `json:"back,omitempty"`     // what taking it back would not bring back, or destroy
	Recipe   *Recipe  `json:"recipe,omitempty"`   // what it was rendered from
	Files    []File   `json:"-"`
}

// ReleaseFile is the name of the file that says what a folder holds, beside the rendered ones.
const ReleaseFile = "release.json"

// Digest is a SHA-256 over everything that makes a plan what it is. Lengths are part of the hash, so that no two
// plans share one by moving bytes between fields.
func Digest(target Target, artifactID, baseTree string, files []File) string {
	h := sha256.New()
	write := func(text []byte) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		h.Write(size[:])
		h.Write(text)
	}
	for _, field := range []string{target.Env, target.App, artifactID, baseTree} {
		write([]byte(field))
	}
	for _, f := range files {
		write([]byte(f.Path))
		write(f.Content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// releaseFile is the content of release.json: one line, the format of the original.
type releaseFile struct {
	App         string  `json:"app"`
	Env         string  `json:"env"`
	ArtifactID  string  `json:"artifactId"`
	TriggeredBy string  `json:"triggeredBy"`
	Version     Version `json:"version"`
	GitopsRef   string  `json:"gitopsRef"`
	GitopsRepo  string  `json:"gitopsRepo"`
}

// withReleaseFile adds release.json to the rendered files and sorts them by name.
func withReleaseFile(files []File, r Release) ([]File, error) {
	line, err := json.Marshal(releaseFile{App: r.App, Env: r.Env, ArtifactID: r.ArtifactID, TriggeredBy: r.TriggeredBy(), Version: r.Version})
	if err != nil {
		return nil, err
	}
	files = append(slices.Clone(files), File{Path: ReleaseFile, Content: append(line, '\n')})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// TriggeredBy is the requester as release.json and clients name it.
func (r Release) TriggeredBy() string {
	if r.Policy != "" {
		return "policy"
	}
	return r.RequestedBy.Name
}

// sameRelease reports whether the folder already holds these files. Of release.json only the artifact counts:
// who asked for the same content again is no change.
func sameRelease(live, planned []File) bool {
	return slices.EqualFunc(live, planned, func(a, b File) bool {
		if a.Path != b.Path {
			return false
		}
		if a.Path == ReleaseFile {
			return artifactOf(a.Content) == artifactOf(b.Content)
		}
		return bytes.Equal(a.Content, b.Content)
	})
}

func artifactOf(line []byte) string {
	var file releaseFile
	if json.Unmarshal(line, &file) != nil {
		return ""
	}
	return file.ArtifactID
}
