package gitops_test

import (
	"bytes"
	"compress/zlib"
	"io"
)

// zlibLength is how many bytes the zlib stream at the start of b takes.
func zlibLength(b []byte) int {
	r := bytes.NewReader(b)
	z, err := zlib.NewReader(byteReader{r})
	if err != nil {
		return len(b)
	}
	_, _ = io.Copy(io.Discard, z)
	return len(b) - r.Len()
}

// byteReader keeps the decompressor from reading ahead.
type byteReader struct{ *bytes.Reader }
