package gitops

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git's object format
	"encoding/binary"
	"fmt"
	"maps"

	"github.com/go-git/go-git/v5/plumbing"
)

// item is one git object in memory. Trees carry the path they stand at, so that a pack can store one as a delta
// against another of the same path.
type item struct {
	typ  plumbing.ObjectType
	hash plumbing.Hash
	raw  []byte
	path string
}

func newItem(typ plumbing.ObjectType, raw []byte) item {
	return item{typ: typ, hash: plumbing.ComputeHash(typ, raw), raw: raw}
}

// minDelta is the size from which a tree is worth a delta.
const minDelta = 512

// pack encodes the objects as a version 2 pack (gitformat-pack). bases, by path, are trees that the reader has
// beside the pack: with them the pack is thin. Without, the first tree of a path is whole and serves the others.
func pack(objects []item, bases map[string]item) ([]byte, error) {
	known := make(map[string]item, len(bases))
	maps.Copy(known, bases)
	var out bytes.Buffer
	out.WriteString("PACK")
	_ = binary.Write(&out, binary.BigEndian, [2]uint32{2, uint32(len(objects))})
	zip, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	if err != nil {
		return nil, err
	}
	deflate := func(raw []byte) error {
		zip.Reset(&out)
		if _, err := zip.Write(raw); err != nil {
			return err
		}
		return zip.Close()
	}
	for _, o := range objects {
		base, has := known[o.path]
		if o.typ != plumbing.TreeObject || o.path == "" || len(o.raw) < minDelta {
			has = false
		} else if !has {
			known[o.path] = o
		}
		if has {
			if delta := treeDelta(base.raw, o.raw); delta != nil {
				entryHeader(&out, plumbing.REFDeltaObject, len(delta))
				out.Write(base.hash[:])
				if err := deflate(delta); err != nil {
					return nil, err
				}
				continue
			}
		}
		entryHeader(&out, o.typ, len(o.raw))
		if err := deflate(o.raw); err != nil {
			return nil, err
		}
	}
	sum := sha1.Sum(out.Bytes()) //nolint:gosec // git's pack format
	out.Write(sum[:])
	return out.Bytes(), nil
}

// entryHeader writes an object's type and size: three bits of type and four of size, then seven bits a byte.
func entryHeader(out *bytes.Buffer, typ plumbing.ObjectType, size int) {
	b := byte(typ)<<4 | byte(size&0x0f)
	for size >>= 4; size > 0; size >>= 7 {
		out.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	out.WriteByte(b)
}

// treeDelta encodes target as copies from base and inserts (gitformat-pack, "Deltified representation"). Both are
// raw trees that differ in few entries; it walks them side by side. A malformed tree gives nil.
func treeDelta(base, target []byte) []byte {
	d := delta{}
	d.size(len(base))
	d.size(len(target))
	i, j := 0, 0
	for j < len(target) {
		if run := commonEntries(base[i:], target[j:]); run > 0 {
			d.copy(i, run)
			i, j = i+run, j+run
			continue
		}
		new, err := entryAt(target, j)
		if err != nil {
			return nil
		}
		for i < len(base) {
			old, err := entryAt(base, i)
			if err != nil {
				return nil
			}
			if sortName(old.mode, old.name) > sortName(new.mode, new.name) {
				break
			}
			i = old.end
			if old.name == new.name || bytes.Equal(base[old.start:old.end], target[new.start:new.end]) {
				break
			}
		}
		d.insert(target[new.start:new.end])
		j = new.end
	}
	return d.out
}

// commonEntries is the length of the whole entries that both raw trees start with.
func commonEntries(a, b []byte) int {
	const stride = 4096
	same := 0
	for same+stride <= len(a) && same+stride <= len(b) && bytes.Equal(a[same:same+stride], b[same:same+stride]) {
		same += stride
	}
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	whole := 0
	for whole < same {
		e, err := entryAt(a, whole)
		if err != nil || e.end > same {
			break
		}
		whole = e.end
	}
	return whole
}

type delta struct{ out []byte }

func (d *delta) size(n int) { d.out = binary.AppendUvarint(d.out, uint64(n)) }

func (d *delta) insert(data []byte) {
	for len(data) > 0 {
		n := min(len(data), 127)
		d.out = append(append(d.out, byte(n)), data[:n]...)
		data = data[n:]
	}
}

func (d *delta) copy(offset, size int) {
	for size > 0 {
		n := min(size, 0xffff)
		op := len(d.out)
		d.out = append(d.out, 0x80)
		for bit, b := range []byte{byte(offset), byte(offset >> 8), byte(offset >> 16), byte(offset >> 24)} {
			if b != 0 {
				d.out[op] |= 1 << bit
				d.out = append(d.out, b)
			}
		}
		for bit, b := range []byte{byte(n), byte(n >> 8)} {
			if b != 0 {
				d.out[op] |= 0x10 << bit
				d.out = append(d.out, b)
			}
		}
		offset, size = offset+n, size-n
	}
}

func shortHash(h plumbing.Hash) string { return fmt.Sprintf("%.7s", h) }
