// pause does nothing until it is ended: all that a pod sandbox needs, and a pod that a test looks at.
package main

import "time"

func main() {
	for {
		time.Sleep(time.Hour)
	}
}
