package bot

// Finding is one thing that was checked of a platform's set-up.
type Finding struct {
	OK   bool
	What string
	Next string // what to do when it is not
}
