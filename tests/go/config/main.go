// Command loadconfig prints, as one JSON object, what the Go library makes of the storage configuration in its environment.
//
// Its only argument is the alternate root in front of /etc and /usr. The library caches facts of the process (runtime
// directory, home, whether it is rootless), so one process answers for one configuration.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"
	"go.podman.io/storage/types"
)

type answer struct {
	Error   string              `json:"error,omitempty"`
	Options *types.StoreOptions `json:"options,omitempty"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: loadconfig ROOT")
		os.Exit(2)
	}
	logrus.SetLevel(logrus.ErrorLevel)
	var out answer
	options, err := types.LoadStoreOptions(types.LoadOptions{RootForImplicitAbsolutePaths: os.Args[1]})
	if err != nil {
		out.Error = err.Error()
	} else {
		out.Options = &options
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
