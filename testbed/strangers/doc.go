// Package strangers pays for jobs with programs that others wrote: curl, and a Cashu wallet from npm.
package strangers
