// Package cmdline tests the command line as people and scripts use it: scripts of real commands against a real cluster.
package cmdline
