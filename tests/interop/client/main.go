// A vSphere client on Debian's govmomi library: a second stack, written by other people in another
// language, against which an emulated vCenter has to hold.
//
//	client -url URL [-user U] [-password P] COMMAND [ARGUMENT=VALUE ...]
//
// Each command prints JSON objects, one a line. A fault of the server is printed, too, as
// {"fault": {"type": ..., "text": ...}}, and the exit code is 3 then; 1 is any other error.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/vmware/govmomi"
)

// Arguments of a command, as NAME=VALUE.
type Arguments map[string]string

func (a Arguments) number(name string, otherwise int64) int64 {
	text, given := a[name]
	if !given {
		return otherwise
	}
	number, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s is no number", name, text))
	}
	return number
}

// Session is a client that has logged in, and what it was told to log in with.
type Session struct {
	*govmomi.Client
	url *url.URL
}

type command func(context.Context, *Session, Arguments) error

var commands = map[string]command{
	"about":     about,
	"clients":   clients,
	"export":    export,
	"faults":    faults,
	"file":      file,
	"list":      list,
	"logout":    logout,
	"overlap":   overlap,
	"power":     power,
	"remove":    remove,
	"removeall": removeAll,
	"revert":    revert,
	"search":    search,
	"snapshot":  snapshot,
	"tracking":  tracking,
	"walk":      walk,
	"watch":     watch,
}

func main() {
	at := flag.String("url", "", "URL of the SDK, such as https://127.0.0.1:8989/sdk")
	user := flag.String("user", "user", "user name")
	password := flag.String("password", "pass", "password")
	flag.Parse()
	name := flag.Arg(0)
	run, known := commands[name]
	if !known {
		fail(fmt.Errorf("there is no command %q", name))
	}
	arguments := Arguments{}
	for _, word := range flag.Args()[1:] {
		parts := strings.SplitN(word, "=", 2)
		if len(parts) != 2 {
			fail(fmt.Errorf("%q is not NAME=VALUE", word))
		}
		arguments[parts[0]] = parts[1]
	}
	endpoint, err := url.Parse(*at)
	if err != nil {
		fail(err)
	}
	endpoint.User = url.UserPassword(*user, *password)
	ctx := context.Background()
	session, err := login(ctx, endpoint)
	if err == nil {
		err = run(ctx, session, arguments)
	}
	if err != nil {
		fail(err)
	}
}

func login(ctx context.Context, endpoint *url.URL) (*Session, error) {
	client, err := govmomi.NewClient(ctx, endpoint, true)
	if err != nil {
		return nil, err
	}
	return &Session{client, endpoint}, nil
}

func fail(err error) {
	if fault := faultOf(err); fault != nil {
		say(Line{"fault": fault})
		os.Exit(3)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Line is what is printed.
type Line map[string]interface{}

func say(line Line) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
