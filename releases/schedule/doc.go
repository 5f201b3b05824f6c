// Package schedule turns cron schedules with time zones into windows of time. It reads a schedule as people read a clock on
// the wall, and decides what daylight saving makes ambiguous to the safe side.
package schedule
