package cli

import "github.com/spf13/cobra"

// verbs lists them in the order of the help.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.runVerb(), a.submitVerb(), a.quoteVerb(), a.rentVerb(),
		a.queueVerb(), a.historyVerb(), a.showVerb(), a.logsVerb(), a.shellVerb(), a.copyVerb(), a.forwardVerb(), a.getVerb(), a.waitVerb(), a.eventsVerb(), a.receiptVerb(),
		a.cancelVerb(), a.holdVerb(), a.releaseVerb(), a.fundVerb(), a.refundsVerb(), a.potVerb(), a.walletVerb(),
		a.nodesVerb(), a.drainVerb(), a.undrainVerb(), a.poolsVerb(), a.priceVerb(),
		a.operatorVerb(), a.devVerb(), a.serverVerb(), a.executorVerb(), a.pluginVerb(),
		a.versionVerb(), a.completionVerb(),
	}
}
