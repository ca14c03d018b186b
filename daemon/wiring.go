package daemon

import (
	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/handler"
	"github.com/eventd-io/eventd/metrics"
	"github.com/eventd-io/eventd/queue"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/schedule"
	"github.com/eventd-io/eventd/schema"
	"github.com/eventd-io/eventd/storage"
	"github.com/eventd-io/eventd/webhook"
)

// The wiring diagram: who gives whom what it asks for.
var (
	_ router.Store      = (*storage.DB)(nil)
	_ router.Observer   = (*metrics.Metrics)(nil)
	_ router.Prober     = (*handler.Health)(nil)
	_ storage.Observer  = (*metrics.Metrics)(nil)
	_ handler.Publisher = (*queue.Conn)(nil)
	_ handler.Requester = (*queue.Conn)(nil)
	_ router.Checker    = (*schema.Schema)(nil)
	_ queue.Checker     = (*schema.Schema)(nil)
	_ queue.Verifier    = (*sourceVerifier)(nil)
	_ handler.Signer    = (*webhook.Signer)(nil)
	_ queue.Intake      = (*router.Router)(nil)
	_ queue.OutboxStore = (*storage.DB)(nil)
	_ queue.Positions   = (*storage.DB)(nil)
	_ schedule.Store    = (*storage.DB)(nil)
	_ schedule.Intake   = (*router.Router)(nil)
	_ api.Intake        = (*router.Router)(nil)
	_ api.Reader        = (*storage.DB)(nil)
	_ api.WorkingData   = (*router.Router)(nil)
	_ api.Operator      = (*router.Router)(nil)
	_ api.Claims        = (*router.Router)(nil)
	_ api.Redriver      = (*router.Router)(nil)
	_ api.Explainer     = (*router.Router)(nil)
	_ api.Switches      = (*Daemon)(nil)
	_ api.Overview      = (*Daemon)(nil)
	_ api.Control       = (*Daemon)(nil)
	_ api.Backups       = (*storage.DB)(nil)
)
