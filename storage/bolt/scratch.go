package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"gimletd/releases"

	"go.etcd.io/bbolt"
)

// ClearScratch removes what a process that was killed has left of its scratch stores under dir.
func ClearScratch(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "rehearsal-*"))
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return err
}

// Scratch makes an empty store in a folder of its own under dir, which does not survive a crash, and is gone when it is ended.
func Scratch(dir string) (releases.Store, func() error, error) {
	folder, err := os.MkdirTemp(dir, "rehearsal-")
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
	db := &DB{bolt: file, now: time.Now, writes: make(chan *write), done: make(chan struct{}), arrived: make(chan struct{}, 1)}
	go db.writeLoop()
	return db, func() error { return errors.Join(db.Close(), os.RemoveAll(folder)) }, nil
}
