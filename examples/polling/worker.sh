#!/bin/sh
# Takes events of the handler "printer" from eventd, one at a time, until it is
# interrupted. Needs curl and jq.
#
#   eventd -config examples/polling/routes.yaml
#   eventd send -type PRINT -data '{"text": "hello"}'
#   sh examples/polling/worker.sh
EVENTD=${EVENTD:-http://127.0.0.1:9180}

post() { # path, body
	curl --silent --show-error --fail-with-body -X POST "$EVENTD$1" \
		-H 'Content-Type: application/json' -H "Eventd-Service: worker-$$" -d "$2"
}

while true; do
	# Waits up to 20 seconds for an event.
	answer=$(post /v1/handlers/printer/claim '{"wait": "20s"}') || { sleep 1; continue; }
	claim=$(printf '%s' "$answer" | jq -r '.claims[0].claim_id // empty')
	[ -n "$claim" ] || continue
	if printf '%s' "$answer" | jq -r '.claims[0].payload.text'; then
		post "/v1/claims/$claim/complete" '{"message_type": "PRINTED", "payload": {"pages": 1}}' >/dev/null
	else
		post "/v1/claims/$claim/fail" '{"reason": "jq failed", "retry": true}' >/dev/null
	fi
done
