package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coinop/coinop/server"
)

type serverFlags struct {
	dir, http, cluster, advertise, join string
	httpsCert, httpsKey, hosts          string
	plain, bootstrap                    bool
	unit, mintURL, level, config        string
}

func (a *app) serverVerb() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "be one of the cluster's servers",
		Long: "Be one of the cluster's servers: one, three or five keep one truth. The first makes the cluster with\n" +
			"--bootstrap and prints the mint's recovery words once, if on a terminal; the others join with a token.\n" +
			"On loopback it speaks HTTP, elsewhere HTTPS: with the certificate that it was given, or with one of the\n" +
			"cluster's own authority, which clients know by its fingerprint. Its standard output's first line when ready\n" +
			"names the address for clients: ready https://HOST:PORT#sha256=...",
		Example: "  coinop server --dir s1 --http 127.0.0.1:2770 --cluster 127.0.0.1:2771 --bootstrap\n" +
			"  coinop operator token create --role server --token @s1/operator.token > join.token\n" +
			"  coinop server --dir s2 --http 127.0.0.1:2780 --cluster 127.0.0.1:2781 --join 127.0.0.1:2771 --token @join.token",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applyConfigFile(cmd, f.config); err != nil {
				return err
			}
			return a.runServer(cmd, f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "its folder")
	f.publicFlags(fl)
	fl.StringVar(&f.cluster, "cluster", "", "HOST:PORT of the cluster port, for servers and executors")
	fl.StringVar(&f.advertise, "advertise", "", "where others reach the cluster port (default: --cluster)")
	fl.BoolVar(&f.bootstrap, "bootstrap", false, "make a new cluster; ignored where the folder holds one")
	fl.StringVar(&f.join, "join", "", "cluster ports of servers to join, HOST:PORT,...")
	fl.StringVar(&f.unit, "unit", "credit", "with --bootstrap: the unit of account")
	fl.StringVar(&f.mintURL, "mint-url", "", "with --bootstrap: the mint's one public URL, for tokens and payment requests")
	fl.StringVar(&f.level, "log", "", "debug, info, warn or error")
	fl.StringVar(&f.config, "config", "", "file with the same settings: name = \"value\"")
	return cmd
}

// publicFlags are those of the public interface.
func (f *serverFlags) publicFlags(fl *pflag.FlagSet) {
	fl.StringVar(&f.http, "http", DefaultServer, "HOST:PORT of the public interface")
	fl.StringVar(&f.httpsCert, "https-cert", "", "certificate chain for HTTPS, PEM; read again when it changes")
	fl.StringVar(&f.httpsKey, "https-key", "", "its key, PEM")
	fl.BoolVar(&f.plain, "plain-http", false, "no HTTPS off loopback either: behind a proxy that speaks it")
	fl.StringVar(&f.hosts, "hosts", "", "names by which this server may be called, beside its own, NAME,...")
}

// serverConfig is what both ways to start a server have in common.
func (a *app) serverConfig(f serverFlags) server.Config {
	c := server.Config{
		Dir: f.dir, HTTP: f.http, HTTPSCert: f.httpsCert, HTTPSKey: f.httpsKey, PlainHTTP: f.plain,
		Cluster: f.cluster, Advertise: f.advertise, Version: a.version, Log: a.logger(or(f.level, "info")),
	}
	if f.hosts != "" {
		c.Hosts = strings.Split(f.hosts, ",")
	}
	return c
}

func (a *app) runServer(cmd *cobra.Command, f serverFlags) error {
	if f.dir == "" || f.cluster == "" {
		return usageError{errors.New("a server needs --dir DIR and --cluster HOST:PORT")}
	}
	c := a.serverConfig(f)
	if f.bootstrap {
		c.Bootstrap = &server.Founding{Unit: f.unit, InputFeePPK: 100, MintURL: f.mintURL,
			Words: func(words string) { a.printWords(f.dir, words) }}
	}
	if f.join != "" {
		c.Join = strings.Split(f.join, ",")
		if a.tokenFile != "" {
			token, err := a.secretFile(a.tokenFile)
			if err != nil {
				return err
			}
			c.Token = token
		}
	}
	return a.serve(cmd.Context(), c)
}

// serve runs a server and says on standard output when it is ready.
func (a *app) serve(ctx context.Context, c server.Config) error {
	spendMemory()
	s, err := server.New(c)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-s.Ready():
			url, err := s.URL(ctx)
			if err != nil {
				a.note("tell the server's address: %v", err)
				return
			}
			a.tellStopped(s, url, c.Dir)
			fmt.Fprintf(a.out, "ready %s\n", url)
		case <-ctx.Done():
		}
	}()
	return s.Run(ctx)
}

// printWords shows the mint's recovery words, this once, to a person: what is no terminal is a log, where others read them.
func (a *app) printWords(dir, words string) {
	const why = "With a snapshot they bring the cluster back; without them nothing does."
	if !a.isTerminal(a.err) {
		fmt.Fprintf(a.err, "Write down the mint's recovery words: coinop operator secret export --dir %s\n%s\n", dir, why)
		return
	}
	fmt.Fprintf(a.err, "The mint's recovery words. %s\n"+
		"They are shown this once (`coinop operator secret export` reads them from this server's folder):\n\n    %s\n\n", why, words)
}
