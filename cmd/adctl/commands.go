package main

import "github.com/spf13/cobra"

// commands are all commands of adctl.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.idCommand(), a.registerCommand(), a.unregisterCommand(), a.lookupCommand(),
		a.sendCommand(), a.inboxCommand(), a.readCommand(), a.replyCommand(), a.forwardCommand(), a.saveCommand(), a.searchCommand(),
		a.sentCommand(), a.statusCommand(), a.editCommand(), a.recallCommand(), a.deleteCommand(), a.archiveCommand(), a.markCommand(), a.draftsCommand(),
		a.postCommand(), a.postsCommand(), a.followCommand(), a.unfollowCommand(), a.feedCommand(), a.profileCommand(),
		a.listenCommand(), a.connectCommand(), a.tunnelCommand(), a.beamCommand(),
		a.contactsCommand(), a.allowCommand(), a.blockCommand(), a.whisperCommand(), a.nearbyCommand(), a.doctorCommand(), a.localnetCommand(), a.versionCommand(), a.manCommand(),
	}
}
