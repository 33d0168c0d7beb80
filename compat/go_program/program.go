// Package program is the calling convention of compat/README.md for clients written in Go, and what their scenarios share.
//
// Rules: standard library only; one result line per scenario on stdout, everything else on stderr. A scenario fails by calling a
// method of T on its own goroutine, as tests do with testing.T.
package program

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	scenarioTimeout = 60 * time.Second
	pollPause       = 20 * time.Millisecond
	whyLimit        = 600
	valueLimit      = 200
)

// Scenario does what the table in README.md says under its name.
type Scenario func(t *T)

// T is what one scenario is given: where the cluster is, names of its own, and the means to fail.
type T struct {
	Bootstrap []string // host:port of each broker
	Topics    []string // the topics of cross_compression
	scenario  string
	prefix    string
	ctx       context.Context
}

type failure struct{ why string }

// Main runs the scenarios of the command line and exits.
func Main(scenarios map[string]Scenario) {
	if len(os.Args) != 4 && len(os.Args) != 5 {
		fmt.Fprintf(os.Stderr, "usage: %s SCENARIO[,SCENARIO…] BOOTSTRAP UNIQUE_PREFIX [TOPIC,TOPIC…]\n", os.Args[0])
		os.Exit(2)
	}
	var topics []string
	if len(os.Args) == 5 {
		topics = strings.Split(os.Args[4], ",")
	}
	status := 0
	for _, name := range strings.Split(os.Args[1], ",") {
		fmt.Fprintf(os.Stderr, "--- %s\n", name)
		ctx, cancel := context.WithTimeout(context.Background(), scenarioTimeout)
		t := &T{Bootstrap: strings.Split(os.Args[2], ","), Topics: topics, scenario: name, prefix: os.Args[3], ctx: ctx}
		line := t.run(scenarios[name])
		cancel()
		if strings.HasPrefix(line, "fail") {
			status = 1
		}
		fmt.Println(line)
	}
	os.Exit(status)
}

func (t *T) run(scenario Scenario) (line string) {
	if scenario == nil {
		return fmt.Sprintf("fail %s: this client has no such scenario", t.scenario)
	}
	defer func() {
		switch ended := recover().(type) {
		case nil:
		case failure:
			line = fmt.Sprintf("fail %s: %s", t.scenario, shorten(strings.Join(strings.Fields(ended.why), " "), whyLimit))
		default:
			fmt.Fprintf(os.Stderr, "%v\n%s", ended, debug.Stack())
			line = fmt.Sprintf("fail %s: panic: %s", t.scenario, shorten(fmt.Sprint(ended), whyLimit))
		}
	}()
	scenario(t)
	return "ok " + t.scenario
}

// Context ends at the scenario's deadline.
func (t *T) Context() context.Context { return t.ctx }

// Name returns a topic, group or client name that is unique to this run and scenario.
func (t *T) Name(parts ...string) string {
	return strings.Join(append([]string{t.prefix, strings.ReplaceAll(t.scenario, "_", "-")}, parts...), "-")
}

// Fatalf ends the scenario as failed.
func (t *T) Fatalf(format string, values ...any) {
	panic(failure{fmt.Sprintf(format, values...)})
}

// NoError ends the scenario as failed if there is an error.
func (t *T) NoError(err error, what string) {
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// True ends the scenario as failed unless the condition holds.
func (t *T) True(condition bool, format string, values ...any) {
	if !condition {
		t.Fatalf(format, values...)
	}
}

// WaitUntil polls the condition until it holds; it ends the scenario as failed at the timeout or the scenario's deadline.
func (t *T) WaitUntil(what string, timeout time.Duration, condition func() bool) {
	end := time.Now().Add(timeout)
	for !condition() {
		if time.Now().After(end) || t.ctx.Err() != nil {
			t.Fatalf("not within %v: %s", timeout, what)
		}
		select {
		case <-time.After(pollPause):
		case <-t.ctx.Done():
		}
	}
}

// Equal ends the scenario as failed unless got and want are deeply equal. Nil and empty slices differ.
func Equal[V any](t *T, got, want V, format string, values ...any) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: expected %s, got %s", fmt.Sprintf(format, values...), show(want), show(got))
	}
}

// ReplicationFactor is the number of replicas that the topics of the scenarios get.
func ReplicationFactor() int16 {
	if factor, err := strconv.ParseInt(os.Getenv("COMPAT_REPLICATION_FACTOR"), 10, 16); err == nil {
		return int16(factor)
	}
	return 1
}

// AsCreated says whether a partition has this many replicas, all of them in sync and one of them the leader.
func AsCreated(leader int32, replicas, isr []int32, count int16) bool {
	sorted := func(ids []int32) []int32 { return slices.Sorted(slices.Values(ids)) }
	return len(replicas) == int(count) && slices.Contains(replicas, leader) && slices.Equal(sorted(replicas), sorted(isr))
}

func show(value any) string {
	text, isBytes := value.([]byte)
	switch {
	case isBytes && text == nil:
		return "null"
	case isBytes:
		return shorten(fmt.Sprintf("%q", text), valueLimit)
	}
	return shorten(fmt.Sprintf("%+v", value), valueLimit)
}

func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:limit], len(text))
}
