package config

import "time"

// Config is the whole file, completed with defaults. Maps are keyed by name;
// [Names] gives their order.
type Config struct {
	Service    string `yaml:"service" required:"true" form:"name" restart:"true" doc:"Name of the application. It is the created_by of what is received and part of the durable consumers' names."`
	DataDir    string `yaml:"data_dir" restart:"true" doc:"Folder of the event store, and of JetStream's files when NATS is embedded. Relative to the working directory."`
	Log        Log    `yaml:"log" doc:"What eventd writes about itself."`
	NATS       NATS   `yaml:"nats" restart:"true" doc:"The message queue. Without url or context, eventd runs a NATS server inside itself."`
	Durability string `yaml:"durability" enum:"disk" later:"jetstream" restart:"true" doc:"What has to be safe before a message is acknowledged. disk: the event, synced on this disk."`
	Store      Store  `yaml:"store" restart:"true" doc:"The event store."`
	Admin      Admin  `yaml:"admin" restart:"true" doc:"The HTTP API."`

	Metrics         Metrics       `yaml:"metrics" restart:"true" doc:"The listener for /metrics, /livez and /readyz."`
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" min:"0s" doc:"How long running attempts may take to finish after SIGTERM."`

	Sources    map[string]Source  `yaml:"sources" keys:"name" doc:"Where messages come from: JetStream subjects, by name."`
	Retry      map[string]Policy  `yaml:"retry" keys:"name" doc:"Retry policies by name. The one named default is used where none is named, and overrides the built-in one."`
	Handlers   map[string]Handler `yaml:"handlers" keys:"name" doc:"Where events go, by name."`
	Routes     []Route            `yaml:"routes" doc:"Which events go to which handlers. The first route that matches wins."`
	DeadLetter string             `yaml:"dead_letter" form:"literal" doc:"Subject on which events that end as ERROR or FAILED are also published."`

	Schedules map[string]Schedule `yaml:"schedules" keys:"name" doc:"Events that eventd makes itself at set times, by name."`

	_ later `yaml:"tracing"`

	origin *origin
}

// later is the type of a key that a later version understands.
type later struct{}

// Log says what eventd writes about itself.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error" doc:"The least important entries that are written."`
	Format string `yaml:"format" enum:"json,console" doc:"json for machines, console for people."`
}

// NATS says how the message queue is reached. Embedded is nil when it is an
// external server.
type NATS struct {
	URL             string            `yaml:"url" form:"natsurl" doc:"Address of an external server; several are separated by commas."`
	CredentialsFile string            `yaml:"credentials_file" file:"true" doc:"File with a user JWT and its seed."`
	User            string            `yaml:"user" doc:"User name, together with password_file."`
	PasswordFile    string            `yaml:"password_file" file:"true" doc:"File with the password of user."`
	NKeyFile        string            `yaml:"nkey_file" file:"true" doc:"File with an nkey seed."`
	TokenFile       string            `yaml:"token_file" file:"true" doc:"File with a token."`
	Context         string            `yaml:"context" doc:"A context of the nats command line, by name or absolute path. It names a server too, so url may be left out."`
	TLS             *TLS              `yaml:"tls" doc:"TLS to an external server."`
	Embedded        *Embedded         `yaml:"embedded" doc:"The server inside eventd, when neither url nor context is given."`
	Streams         map[string]Stream `yaml:"streams" keys:"stream" doc:"Streams to create if they are missing, by name. One that exists is never changed."`
	// EffectiveStreams are Streams and, with the embedded server, one more for
	// each subject that none of them captures: see [Config.automaticStreams].
	EffectiveStreams map[string]Stream `yaml:"-"`
}

// External reports whether the server is one outside this process.
func (n *NATS) External() bool { return n.URL != "" || n.Context != "" }

// TLS says how a server's certificate is checked, and with which own
// certificate eventd answers. Empty fields leave it to the system.
type TLS struct {
	CAFile   string `yaml:"ca_file" file:"true" doc:"Certificates of the authorities to trust instead of the system's."`
	CertFile string `yaml:"cert_file" file:"true" doc:"Own certificate, together with key_file."`
	KeyFile  string `yaml:"key_file" file:"true" doc:"Private key of cert_file."`
}

// Embedded configures the NATS server inside eventd.
type Embedded struct {
	Listen string `yaml:"listen" form:"listen" zero:"none" doc:"Address for other programs; none: reachable inside the process only."`
	// Sync is the interval between syncs of the server's files, 0 for after every message.
	Sync time.Duration `yaml:"sync" min:"1ms" zero:"always" doc:"When the server's files are synced to disk: always (every message, before it is acknowledged) or an interval."`
}

// Stream is a JetStream stream that eventd creates if it is missing.
type Stream struct {
	Subjects []string      `yaml:"subjects" required:"true" form:"capture" doc:"Subjects it captures."`
	MaxAge   time.Duration `yaml:"max_age" min:"100ms" zero:"unlimited" doc:"How long it keeps a message."` // 0 for ever
	Replicas int           `yaml:"replicas" min:"1" max:"5" doc:"On how many servers of a cluster it is kept."`
}

// Store configures the event store.
type Store struct {
	Sync         string        `yaml:"sync" enum:"always" later:"none" doc:"always: a commit counts when it is on disk."`
	LockTimeout  time.Duration `yaml:"lock_timeout" min:"0s" doc:"How long to wait at start for another process to let go of the store."`
	DedupeWindow time.Duration `yaml:"dedupe_window" min:"0s" doc:"How long the same event_id from the same source_service in the same table is recognised as a duplicate."`
	// MaxSize is 0 for no limit.
	MaxSize   Size      `yaml:"max_size" min:"16MiB" zero:"unlimited" doc:"How large the store may become. From 90% of it on the oldest COMPLETED events go before their time; from 95% on nothing new is taken."`
	Retention Retention `yaml:"retention" doc:"How long events are kept after they have ended. What has not ended is always kept."`
}

// Retention says how long what has ended is kept; 0 for ever.
type Retention struct {
	Completed time.Duration `yaml:"completed" min:"1s" zero:"unlimited" doc:"COMPLETED events. Never for less than dedupe_window after they came."`
	Error     time.Duration `yaml:"error" min:"1s" zero:"unlimited" doc:"ERROR events, with their payload."`
	Failed    time.Duration `yaml:"failed" min:"1s" zero:"unlimited" doc:"FAILED events, with their payload."`
	Payload   time.Duration `yaml:"payload" min:"1s" zero:"unlimited" doc:"The payload of COMPLETED events. unlimited: as long as the event."`
}

// Admin configures the HTTP API.
type Admin struct {
	Listen    string     `yaml:"listen" form:"listen" doc:"Its address. One that is not loopback needs token_file."`
	TokenFile string     `yaml:"token_file" file:"true" doc:"File with the token that every request has to bear."`
	TLS       *ServerTLS `yaml:"tls" doc:"Serve HTTPS."`
}

// ServerTLS is the certificate of a listener.
type ServerTLS struct {
	CertFile string `yaml:"cert_file" required:"true" file:"true" doc:"Certificate."`
	KeyFile  string `yaml:"key_file" required:"true" file:"true" doc:"Private key of cert_file."`
}

// Metrics configures the listener without payloads and changes.
type Metrics struct {
	Listen string `yaml:"listen" form:"listen" doc:"Its address; :9181 is port 9181 of every interface."`
}

// Source is a JetStream subject that events are received from.
type Source struct {
	Stream        string        `yaml:"stream" form:"stream" doc:"The stream that captures the subject; found by subject when omitted."`
	Subject       string        `yaml:"subject" required:"true" form:"subject" doc:"Subject to receive; * stands for one token, > for the rest."`
	Table         string        `yaml:"table" enum:"inbound,response" doc:"inbound: starts something here; response: answers something that was sent."`
	SourceService string        `yaml:"source_service" form:"service" doc:"Who sends, for messages that do not say so. Default: the source's name."`
	TargetService string        `yaml:"target_service" form:"service" doc:"Whom it is meant for. Default: service."`
	MessageType   string        `yaml:"message_type" form:"type" doc:"Message type, only for messages that do not say theirs."`
	MaxAckPending int           `yaml:"max_ack_pending" min:"1" max:"100000" doc:"How many messages may be received and not yet acknowledged."`
	AckWait       time.Duration `yaml:"ack_wait" min:"1s" doc:"How long the server waits for an acknowledgement before it delivers again."`
	Schema        string        `yaml:"schema" file:"true" doc:"File with a JSON Schema for the payload. What does not fit is kept as ERROR invalid, and not routed."`
	Verify        *Verify       `yaml:"verify" doc:"Take nothing but messages that are signed as Standard Webhooks has it. Others are kept as ERROR invalid, undecoded."`
}

// Policy says when to try again. Which fields count depends on Backoff:
// Schedule for "schedule", the others for exponential, linear and constant.
type Policy struct {
	Backoff  string          `yaml:"backoff,omitempty" enum:"exponential,linear,constant" doc:"How the delay grows: exponential (times factor), linear (by initial each time) or constant."`
	Initial  time.Duration   `yaml:"initial,omitempty" min:"1ms" doc:"Delay after the first attempt."`
	Factor   float64         `yaml:"factor,omitempty" min:"1" max:"100" doc:"What an exponential delay is multiplied with after each attempt."`
	Max      time.Duration   `yaml:"max,omitempty" min:"1ms" doc:"Longest delay of an exponential or linear backoff."`
	Schedule []time.Duration `yaml:"schedule" min:"0s" doc:"The delays one by one, instead of backoff, initial, factor and max."`
	Jitter   float64         `yaml:"jitter" min:"0" max:"1" doc:"Share of the delay that is random, 0 to 1: 0.2 is 20% more or less."`
	// MaxAttempts counts the first attempt too; 0 for no limit.
	MaxAttempts int `yaml:"max_attempts" min:"1" max:"1000000" zero:"unlimited" doc:"Attempts in all, the first included. With a schedule: one more than it has delays."`
	// MaxElapsed is counted from the first attempt; 0 for no limit.
	MaxElapsed time.Duration `yaml:"max_elapsed" min:"1ms" zero:"unlimited" doc:"No attempt starts later than so long after the first. With a schedule: unlimited."`
}

// Handler is where events go. Exactly one of HTTP, Unix, Topic and Log is set;
// [Handler.Kind] tells which.
type Handler struct {
	Service       string            `yaml:"service" form:"service" doc:"Who handles: updated_by of the event, created_by of its follow-ups. Default: the handler's name."`
	HTTP          string            `yaml:"http" form:"httpurl" doc:"URL that events are POSTed to."`
	Unix          string            `yaml:"unix" form:"socket" doc:"Path of a unix socket that events are POSTed to."`
	Path          string            `yaml:"path" form:"path" doc:"Path of the request, for unix. Default: /."`
	NATS          string            `yaml:"nats" form:"literal" doc:"NATS subject on which a reply is requested for each event."`
	Topic         string            `yaml:"topic" form:"literal" doc:"JetStream subject that events are published on."`
	TargetService string            `yaml:"target_service" form:"service" doc:"Whom a published message is meant for, for topic. Default: the handler's service."`
	Poll          *PollHandler      `yaml:"poll" doc:"Services claim the events through the API instead of having them pushed."`
	Log           *LogHandler       `yaml:"log" doc:"Write events to eventd's own log; it has no options: {}."`
	Timeout       time.Duration     `yaml:"timeout" min:"1ms" max:"1h" doc:"How long an attempt may take. Not for poll."`
	Concurrency   int               `yaml:"concurrency" min:"1" max:"10000" doc:"How many attempts may run at the same time; with batch, how many requests. Default for topic: 512, with batch: 8. Not for poll."`
	Format        string            `yaml:"format" enum:"binary,structured,raw" doc:"CloudEvents binary or structured mode, or raw: the payload with no CloudEvents attributes. Default with batch, where nothing else is possible: structured. Not for poll and log."`
	Headers       map[string]string `yaml:"headers" keys:"header" doc:"Headers sent along. Not for poll and log."`
	Retry         string            `yaml:"retry" form:"name" doc:"Name of a retry policy."`
	RateLimit     string            `yaml:"rate_limit" form:"rate" doc:"How many attempts may begin, such as 500/s, 90/m or 10/h. Any number when it is not given."`
	Breaker       *Breaker          `yaml:"breaker" doc:"Try nothing for a while when attempts fail again and again. Not for poll and log."`
	RetryOn       []string          `yaml:"retry_on" form:"code" doc:"HTTP answers after which to try again, as codes and classes, for http, unix and nats. 5xx leaves out 501 and 505 unless they are listed."`
	Health        *Health           `yaml:"health" doc:"Ask the service whether it is well, and hand it nothing while it is not. For http and unix."`
	Sign          *Sign             `yaml:"sign" doc:"Sign what is sent, as Standard Webhooks has it. Not for poll and log."`
	Batch         *Batch            `yaml:"batch" doc:"Send several events in one request, for http and unix. The answer says what became of each."`
	Async         bool              `yaml:"async" doc:"The answer 202 takes an event over: it stays IN_PROGRESS until its claim is completed or failed through the API. For http and unix."`
	AsyncTimeout  time.Duration     `yaml:"async_timeout,omitempty" min:"1s" max:"168h" doc:"How long an event may be taken over. Then it is tried again. Default with async: 10m."`
	AsyncMax      int               `yaml:"async_max,omitempty" min:"1" max:"1000000" doc:"How many events may be taken over at the same time; no more are sent meanwhile. Default with async: 1000."`
	TLS           *HandlerTLS       `yaml:"tls" doc:"TLS to an https URL, where it is not the system's. Only for http."`

	ResponseWithin time.Duration `yaml:"response_within,omitempty" min:"1ms" doc:"How long the response to a request may take before the request is overdue, for topic. Default: no response is awaited."`
}

// Sign says how what is sent is signed.
type Sign struct {
	SecretFile string `yaml:"secret_file" required:"true" file:"true" doc:"File with a secret (whsec_) or private key (whsk_), or several, a line each: what is sent has a signature of each."`
}

// Verify says how the signature of what is received is checked.
type Verify struct {
	SecretFile string        `yaml:"secret_file" required:"true" file:"true" doc:"File with a secret (whsec_) or public key (whpk_), or several, a line each: a signature of one of them is enough."`
	Tolerance  time.Duration `yaml:"tolerance" min:"1s" max:"24h" doc:"How far the time of the signature may be from when the server stored the message."`
}

// HandlerTLS says how the certificate of an endpoint is checked, and with which
// own certificate eventd answers. Empty fields leave it to the system.
type HandlerTLS struct {
	CAFile     string `yaml:"ca_file" file:"true" doc:"Certificates of the authorities to trust instead of the system's."`
	CertFile   string `yaml:"cert_file" file:"true" doc:"Own certificate, for an endpoint that asks for one; together with key_file."`
	KeyFile    string `yaml:"key_file" file:"true" doc:"Private key of cert_file."`
	ServerName string `yaml:"server_name" form:"host" doc:"Name that the certificate of the endpoint must be for. Default: the host in the URL."`
}

// Breaker says when nothing is tried for a while.
type Breaker struct {
	Failures int           `yaml:"failures" min:"1" max:"10000" doc:"Attempts in a row that fail in a way that is tried again, after which it opens."`
	Open     time.Duration `yaml:"open" min:"100ms" max:"24h" doc:"How long nothing is tried then. One attempt decides whether it closes."`
}

// Health says how a service is asked whether it is well.
type Health struct {
	Path     string        `yaml:"path" form:"path" doc:"Path that is asked for with GET, on the host or socket of the handler. Any 2xx answer says that it is well."`
	Interval time.Duration `yaml:"interval" min:"100ms" max:"1h" doc:"Time between two probes, a tenth more or less."`
	Timeout  time.Duration `yaml:"timeout" min:"1ms" max:"1m" doc:"How long an answer may take; not longer than interval."`
	Failures int           `yaml:"failures" min:"1" max:"1000" doc:"Failed probes in a row after which its events wait. A single good one lets them go on."`
}

// PollHandler says how services claim.
type PollHandler struct {
	Lease time.Duration `yaml:"lease" min:"1s" max:"12h" doc:"How long a claimed event is the claimer's, where the claim does not say. Then it is tried again."`
	NATS  bool          `yaml:"nats" doc:"Services may claim over NATS, too. Who may is for the NATS server to say."`
}

// LogHandler has no options.
type LogHandler struct{}

// Batch says how events are sent together.
type Batch struct {
	Max  int           `yaml:"max" min:"1" max:"1000" doc:"Events in one request."`
	Wait time.Duration `yaml:"wait" min:"0s" max:"1m" doc:"How long the first of a batch that is not full waits for company. 0s: what is due is sent at once."`
}

// The kinds of handlers.
const (
	KindHTTP  = "http"
	KindUnix  = "unix"
	KindNATS  = "nats"
	KindTopic = "topic"
	KindPoll  = "poll"
	KindLog   = "log"
)

// Kind returns which kind of handler it is.
func (h *Handler) Kind() string {
	switch {
	case h.HTTP != "":
		return KindHTTP
	case h.Unix != "":
		return KindUnix
	case h.NATS != "":
		return KindNATS
	case h.Topic != "":
		return KindTopic
	case h.Poll != nil:
		return KindPoll
	default:
		return KindLog
	}
}

// Route leads events to handlers.
type Route struct {
	Name        string   `yaml:"name" form:"route" doc:"Name in timelines and explanations. Default: its place in the list, routes[2]."`
	MessageType []string `yaml:"message_type" required:"true" single:"true" form:"glob" doc:"A message type or a list of them; * stands for any run of characters."`
	Table       string   `yaml:"table" enum:"inbound,request,response" doc:"Only events of this table. Default: of any."`
	When        string   `yaml:"when" doc:"Only events for which this CEL expression is true. It may use event, headers, data and working."`
	// Handler is empty once loaded: Handlers has it.
	Handler  string   `yaml:"handler" doc:"Name of the handler."`
	Handlers []string `yaml:"handlers" doc:"Names of several handlers; each gets the event, with attempts of its own."`
	Continue bool     `yaml:"continue" doc:"Look for further routes after this one has matched."`
	// Remember is keyed by member of the working data.
	Remember map[string]string `yaml:"remember" keys:"name" doc:"Values merged into the working data of the event's correlation: names, each with a CEL expression as in when."`
	Expires  time.Duration     `yaml:"expires,omitempty" min:"1ms" doc:"How long after it was received, or was to be delivered, an event is still handed to a handler. Default: for ever."`
	_        later             `yaml:"order_by"`
	Schema   string            `yaml:"schema" file:"true" doc:"File with a JSON Schema for the payload. What the route takes and does not fit is kept as ERROR invalid."`
	_        later             `yaml:"on_failure"`
}

// Schedule is a list of times at which eventd makes an event itself.
type Schedule struct {
	Cron          string            `yaml:"cron" required:"true" doc:"When: minute, hour, day of the month, month and day of the week, as in crontab; with six fields, seconds come first."`
	Timezone      string            `yaml:"timezone" doc:"IANA name of the time zone in which cron is read, such as Europe/Zurich."`
	MessageType   string            `yaml:"message_type" required:"true" form:"type" doc:"Message type of the events, which stand in the table request."`
	Payload       string            `yaml:"payload" doc:"Their payload, as text."`
	ContentType   string            `yaml:"content_type" form:"media" doc:"Content type of the payload."`
	CorrelationID string            `yaml:"correlation_id" doc:"Conversation that all of them belong to. Default: each has one of its own."`
	Headers       map[string]string `yaml:"headers" keys:"header" doc:"Headers that go along with them."`
	Missed        string            `yaml:"missed" enum:"skip,once,all" doc:"What becomes of times that passed by more than a minute ago while eventd was not running: skip them, make the last of them up, or all (the latest 100)."`
}
