package api

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type startingRedrive struct {
	Service string `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who asks; the daemon's own service when left out."`
	Body    wire.NewRedrive
}

type startedRedrive struct {
	Status   int
	Location string `header:"Location"`
	Body     wire.RedriveAnswer
}

type redriveID struct {
	ID string `path:"id" maxLength:"32"`
}

func (s *service) registerRedrives() {
	start := call{method: http.MethodPost, path: "/v1/redrives", id: "start-redrive", tag: "redrives", status: http.StatusAccepted,
		summary: "Have many events handled again", problems: []int{400, 404, 409, 413, 415, 422, 503},
		text: "A job that goes on after a restart, and redrives each event once. It is about the events that the filter selects when it begins. One runs at a time for each handler."}
	register(s, start, s.startRedrive)
	op := s.described(start)
	dry := *op.Responses["202"]
	op.Responses["202"].Description, dry.Description = "The job was started.", "A dry run: nothing was changed."
	op.Responses["200"] = &dry
	register(s, call{method: http.MethodGet, path: "/v1/redrives", id: "list-redrives", tag: "redrives",
		summary: "List the redrives of many events"}, s.listRedrives)
	register(s, call{method: http.MethodGet, path: "/v1/redrives/{id}", id: "show-redrive", tag: "redrives",
		summary: "Show how far a redrive is", problems: []int{404}}, s.showRedrive)
	register(s, call{method: http.MethodDelete, path: "/v1/redrives/{id}", id: "stop-redrive", tag: "redrives", status: http.StatusOK,
		summary: "Cancel a redrive", problems: []int{404, 409, 503}, text: "What is redriven so far stays so."}, s.cancelRedrive)
}

func (s *service) startRedrive(ctx context.Context, in *startingRedrive) (*startedRedrive, error) {
	j, err := redriveOf(&in.Body, time.Now())
	if err != nil {
		return nil, err
	}
	if in.Body.DryRun {
		p, err := s.Redriver.PlanRedrive(ctx, j)
		if err != nil {
			return nil, s.failure("plan a redrive", err)
		}
		return &startedRedrive{Status: http.StatusOK, Body: wire.RedriveAnswer{DryRun: planOf(p)}}, nil
	}
	j.Order.By = cmp.Or(in.Service, s.Service)
	if err := s.Redriver.StartRedrive(ctx, j); err != nil {
		return nil, s.failure("start a redrive", err)
	}
	job := jobOf(j)
	return &startedRedrive{
		Status: http.StatusAccepted, Location: "/v1/redrives/" + job.ID, Body: wire.RedriveAnswer{Redrive: &job},
	}, nil
}

func (s *service) listRedrives(ctx context.Context, _ *struct{}) (*out[wire.Redrives], error) {
	list, err := s.Redriver.Redrives(ctx)
	if err != nil {
		return nil, s.failure("list redrives", err)
	}
	jobs := make([]wire.RedriveJob, 0, len(list))
	for i := range slices.Backward(list) {
		jobs = append(jobs, jobOf(&list[i]))
	}
	return answer(wire.Redrives{Redrives: jobs})
}

func (s *service) showRedrive(ctx context.Context, in *redriveID) (*out[wire.RedriveJob], error) {
	return s.job(ctx, in, s.Redriver.ShowRedrive)
}

func (s *service) cancelRedrive(ctx context.Context, in *redriveID) (*out[wire.RedriveJob], error) {
	return s.job(ctx, in, s.Redriver.CancelRedrive)
}

func (s *service) job(ctx context.Context, in *redriveID, ask func(context.Context, uint64) (*event.Redrive, error)) (*out[wire.RedriveJob], error) {
	id, err := strconv.ParseUint(in.ID, 10, 64)
	if err != nil {
		return nil, newProblem(http.StatusNotFound, "there is no redrive %q", in.ID)
	}
	j, err := ask(ctx, id)
	if err != nil {
		return nil, s.failure("redrive", err)
	}
	return answer(jobOf(j))
}

// redriveOf reads an order. The bounds of time are as of now.
func redriveOf(n *wire.NewRedrive, now time.Time) (*event.Redrive, error) {
	f := &n.Filter
	j := &event.Redrive{
		Filter: event.Filter{
			MessageType: f.MessageType, Handler: f.Handler, Route: f.Route, Reason: event.Reason(f.Reason),
			SourceService: f.SourceService, CorrelationID: f.CorrelationID,
		},
		Order: event.RedriveOrder{Handler: n.Handler, Detail: n.Reason},
	}
	// Names that are not in the lists were refused by the framework.
	j.Filter.Table, _ = event.ParseTable(f.Table)
	j.Filter.Status, _ = event.ParseStatus(f.Status)
	if j.Filter.Status == event.Unprocessed || j.Filter.Status == event.InProgress {
		return nil, invalid("body.filter.status", f.Status, errors.New("what is "+f.Status+" is still on its way: there is nothing to redrive"))
	}
	var err error
	if j.Filter.Since, err = parseWhen(f.Since, now); err != nil {
		return nil, invalid("body.filter.since", f.Since, err)
	}
	if j.Filter.Until, err = parseWhen(f.Until, now); err != nil {
		return nil, invalid("body.filter.until", f.Until, err)
	}
	if !j.Filter.Since.IsZero() && !j.Filter.Until.IsZero() && !j.Filter.Until.After(j.Filter.Since) {
		return nil, invalid("body.filter.until", f.Until, errors.New("until is not after since"))
	}
	if j.Rate, err = parseRate(n.Rate); err != nil {
		return nil, invalid("body.rate", n.Rate, err)
	}
	return j, nil
}

var rateUnits = []struct {
	name    string
	seconds float64
}{{"s", 1}, {"m", 60}, {"h", 3600}}

var errRate = errors.New("not a rate such as 20/s, 100/m or 5/h")

// parseRate returns events a second; 0 for "".
func parseRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return 0, errRate
	}
	for _, u := range rateUnits {
		if strings.TrimSpace(unit) == u.name {
			return n / u.seconds, nil
		}
	}
	return 0, errRate
}

// rateText writes a rate in the largest unit in which it is at least 1.
func rateText(perSecond float64) string {
	if perSecond == 0 {
		return ""
	}
	u := rateUnits[0]
	for _, u = range rateUnits {
		if perSecond*u.seconds >= 1 {
			break
		}
	}
	return strconv.FormatFloat(math.Round(perSecond*u.seconds*1000)/1000, 'f', -1, 64) + "/" + u.name
}

func jobOf(j *event.Redrive) wire.RedriveJob {
	f := &j.Filter
	job := wire.RedriveJob{
		ID: strconv.FormatUint(j.ID, 10), State: string(j.State), Waiting: j.Waiting,
		Filter: wire.RedriveFilter{
			Status: statusName(f.Status), MessageType: f.MessageType, Handler: f.Handler, Route: f.Route,
			Reason: string(f.Reason), SourceService: f.SourceService, CorrelationID: f.CorrelationID,
			Since: timeText(f.Since), Until: timeText(f.Until),
		},
		Rate: rateText(j.Rate), Handler: j.Order.Handler, Reason: j.Order.Detail, CreatedBy: j.Order.By,
		CreatedDttm: wire.Time{Time: j.Created}, EndedDttm: wire.Time{Time: j.Ended},
		Done: j.Done, Skipped: j.Skipped, Failed: j.Failed, Progress: 1,
	}
	if f.Table != 0 {
		job.Filter.Table = f.Table.String()
	}
	if j.State != event.RedriveCompleted && j.Last > 0 {
		job.Progress = math.Round(float64(j.Position)/float64(j.Last)*1000) / 1000
	}
	return job
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

func planOf(p *event.RedrivePlan) *wire.RedrivePlan {
	plan := &wire.RedrivePlan{
		Events: p.Events, Complete: p.Complete, ByStatus: p.ByStatus, ByMessageType: p.ByMessageType,
		ByHandler: p.ByHandler, ByReason: p.ByReason, Samples: make([]wire.Row, len(p.Samples)),
	}
	for i := range p.Samples {
		plan.Samples[i] = rowOf(&p.Samples[i])
	}
	return plan
}
