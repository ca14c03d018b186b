package main

import (
	"context"
	"fmt"
)

// runPart is the life of one of the processes that a run is made of.
func runPart(ctx context.Context, name string, args []string) error {
	switch name {
	case "nats":
		return serveNATS(ctx, args)
	case "sink":
		return serveSink(ctx, args)
	case "publish":
		return runPublisher(ctx, args)
	case "loop":
		return runLoop(ctx, args)
	case "watermill":
		return runWatermill(ctx, args)
	}
	return fmt.Errorf("no part is named %q", name)
}
