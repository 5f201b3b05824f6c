package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

// scratchFolder is beside the store, for its rehearsals alone.
func scratchFolder(store string) string { return store + ".rehearsals" }

// ClearScratch removes what a process that was killed has left of the scratch stores beside a store. Only who has the store open
// may.
func ClearScratch(store string) error { return os.RemoveAll(scratchFolder(store)) }

// Scratch makes an empty store in a folder of its own beside a store, which does not survive a crash, and is gone when it is ended.
func Scratch(store string) (releases.Store, func() error, error) {
	if err := os.MkdirAll(scratchFolder(store), 0o700); err != nil {
		return nil, nil, err
	}
	folder, err := os.MkdirTemp(scratchFolder(store), "")
	if err != nil {
		return nil, nil, err
	}
	file, err := bbolt.Open(filepath.Join(folder, "store"), 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoSync: true, NoFreelistSync: true, NoGrowSync: true,
	})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := file.Update(prepare); err != nil {
		return nil, nil, errors.Join(err, file.Close(), os.RemoveAll(folder))
	}
	db := &DB{bolt: file, now: time.Now, writes: make(chan *write), done: make(chan struct{}), closing: make(chan struct{}), arrived: make(chan struct{}, 1)}
	go db.writeLoop()
	return db, func() error { return errors.Join(db.Close(), os.RemoveAll(folder)) }, nil
}
