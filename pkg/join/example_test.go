package join_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// A run tells its transitions as events and ends with a report. Here it ends
// before anything is touched, for the token is malformed.
func ExampleRun() {
	config := join.Defaults()
	config.Endpoint = "10.0.0.10:6443"
	config.CACertHashes = []string{"sha256:8cb2de97839780a412b93877f8507ad6c94f73add17d5d7058e91741c9d5ec78"}
	config.Token.Value = "not a token"
	config.Until, config.Timeout = join.Initialized, 10*time.Minute
	config.Observe = func(e join.Event) { fmt.Println(e.Phase, e.Message) }

	report, err := join.Run(context.Background(), config)
	var ended *join.Error
	if errors.As(err, &ended) {
		fmt.Println(*report.Result, ended.Reason)
	}
	// Output:
	// failure Usage
}
