package event

import "time"

// Mark says how far a schedule is: every run up to Seen is made, or given up.
// That of a run is stored in the transaction that stores its event.
type Mark struct {
	Schedule string
	Rule     string    // cron and time zone that it is about
	Seen     time.Time // to the second
	Last     time.Time // the time of the last run that was made; zero for none
	EventID  string    // of its event
}

// ScheduleInfo tells how a schedule stands.
type ScheduleInfo struct {
	Name        string    `json:"name"`
	Cron        string    `json:"cron"`
	Timezone    string    `json:"timezone"`
	MessageType string    `json:"message_type"`
	Missed      string    `json:"missed"` // skip, once, all
	Next        time.Time `json:"next_dttm,omitzero"`
	Last        time.Time `json:"last_dttm,omitzero"`      // as scheduled
	LastEventID string    `json:"last_event_id,omitempty"` // of that run
	Problem     string    `json:"problem,omitempty"`       // why it makes no events now
}
