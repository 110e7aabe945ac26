// Serves the simulator of Debian's govmomi library as a rival and a second opinion.
//
//	simulator [-vms N] [-tls] [-listen HOST:PORT]
//
// It prints the URL of its SDK on a line of its own, then serves until its standard input ends.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	vms := flag.Int("vms", 1, "virtual machines in the estate")
	secure := flag.Bool("tls", false, "serve https with the library's own certificate")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()

	model := simulator.VPX()
	model.Host, model.Machine = 0, *vms // one resource pool, that of the cluster
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword("user", "pass")}
	if *secure {
		model.Service.TLS = new(tls.Config)
	}
	server := model.Service.NewServer()
	server.URL.User = nil
	fmt.Println(server.URL)
	io.Copy(io.Discard, os.Stdin)
	server.Close()
	model.Remove()
}
