// Package console is chat in a terminal: what is typed are commands, what happens is printed, buttons are numbers.
// It works the same on a terminal, where there is a prompt and colour, and in a pipe, where each command is settled
// before the next line is read.
package console
