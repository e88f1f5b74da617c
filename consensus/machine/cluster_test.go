package machine

import (
	"fmt"
	"strings"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/mint"
	"github.com/coinop/coinop/scheduler"
)

func clusterVerbs() map[string]verb {
	return map[string]verb{
		"init": (*world).init,
		"token": func(w *world, a args) string {
			role := map[string]Role{
				"operator": RoleOperator, "submit": RoleSubmit, "view": RoleView, "server": RoleJoinServer, "executor": RoleJoinExecutor,
			}[a.text("role", "operator")]
			token := Token{Hash: keyOf("token", a.word(0)), Role: role, Name: a.word(0), Revoked: a.has("revoked")}
			if d := a.duration("for", 0); d != 0 {
				token.Until = w.at + d
			}
			if by := a.text("by", ""); by != "" {
				token.By = keyOf("token", by)
			}
			return okOr(w.does(token, &TokenAnswer{}))
		},
		"keyset": (*world).keyset,
		"server": func(w *world, a args) string {
			name := a.word(0)
			server := Server{
				ID: name, Cluster: "h:1", HTTP: "h:2", Cert: keyOf("cert", a.text("cert", name)),
				Reads: uint32(a.number("reads", 1)), Removed: a.has("removed"),
			}
			if token := a.text("token", ""); token != "" {
				server.Token = keyOf("token", token)
			}
			if code := w.does(server, &ServerAnswer{}); code != "" {
				return code
			}
			return fmt.Sprintf("%d servers", len(w.m.View().Servers()))
		},
		"format": func(w *world, a args) string {
			var answer FormatAnswer
			if code := w.does(Format{Format: uint32(number(w.t, a.word(0)))}, &answer); code != "" {
				return code
			}
			return fmt.Sprint("format ", answer.Format)
		},
		"reconcile": func(w *world, a args) string {
			command := Reconcile{Token: keyOf("token", a.text("token", "operator"))}
			for _, word := range a.words {
				command.Keysets = append(command.Keysets, mint.KeysetNumber(number(w.t, word)))
			}
			var answer ReconcileAnswer
			if code := w.does(command, &answer); code != "" {
				return code
			}
			return fmt.Sprint("stopped=", answer.Stopped)
		},
		"minturl": func(w *world, a args) string {
			command := MintURL{Token: keyOf("token", a.text("token", "operator"))}
			if url := a.word(0); url != "none" {
				command.URL = strings.Repeat(url, int(a.number("times", 1)))
			}
			if code := w.does(command, &MintURLAnswer{}); code != "" {
				return code
			}
			return "url=" + w.m.View().MintURL()
		},
	}
}

func okOr(code string) string {
	if code == "" {
		return "ok"
	}
	return code
}

func (w *world) init(a args) string {
	expiry := int64(0)
	if d := a.duration("expires", 0); d != 0 {
		expiry = int64(w.at+d) / 1000
	}
	pools := []scheduler.Pool{devPool()}
	if a.has("twins") {
		pools = append(pools, devPool())
	}
	command := Init{
		Cluster: ClusterID{1}, Unit: "credit", Format: uint32(a.number("format", 1)), Pools: pools,
		Keyset: keysetSpec(w.t, 1, uint32(a.number("fee", 0)), expiry), Operator: keyOf("token", "operator"),
	}
	if a.has("server") {
		command.Server = &Server{ID: "s1", Cluster: "h:1", HTTP: "h:2", Cert: keyOf("cert", "s1"), Reads: 1}
	}
	return okOr(w.does(command, &InitAnswer{}))
}

func (w *world) keyset(a args) string {
	var command Keyset
	switch a.word(0) {
	case "new":
		expiry := int64(0)
		if d := a.duration("expires", 0); d != 0 {
			expiry = int64(w.at+d) / 1000
		}
		spec := keysetSpec(w.t, mint.KeysetNumber(number(w.t, a.word(1))), uint32(a.number("fee", 0)), expiry)
		if a.has("forged") {
			spec.Keys[3], spec.Keys[4] = spec.Keys[4], spec.Keys[3]
		}
		command.New = &spec
	case "sweep":
		command.Sweep = int32(a.number("records", 100))
	default:
		command.Number = mint.KeysetNumber(number(w.t, a.word(0)))
		command.State = map[string]mint.KeysetState{
			"active": mint.KeysetActive, "retiring": mint.KeysetRetiring, "closed": mint.KeysetClosed,
		}[a.word(1)]
	}
	var answer KeysetAnswer
	if code := w.does(command, &answer); code != "" {
		return code
	}
	if command.Sweep > 0 {
		view := w.m.View()
		return fmt.Sprintf("more=%t spent=%d outputs=%d requests=%d", answer.More, view.spent.len(), view.outputs.len(), view.requests.len())
	}
	return fmt.Sprint("keyset ", answer.Number)
}

// potAccount is where a pot's money lies.
func potAccount(id funding.PotID) funding.Account { return funding.Pot{ID: id}.Account() }
