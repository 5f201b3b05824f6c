package slacktest

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Validate returns what Slack would refuse of a message's blocks, or "". https://docs.slack.dev/reference/block-kit
func Validate(blocks []Block) string { return validate(blocks, 50) }

func validate(blocks []Block, most int) string {
	if len(blocks) > most {
		return fmt.Sprintf("%d blocks, %d are allowed", len(blocks), most)
	}
	ids := map[string]bool{}
	for i, b := range blocks {
		if id, _ := b["block_id"].(string); id != "" {
			if ids[id] || len(id) > 255 {
				return fmt.Sprintf("block %d: block_id %q is too long or there twice", i, id)
			}
			ids[id] = true
		}
		if fault := validateBlock(b); fault != "" {
			return fmt.Sprintf("block %d (%v): %s", i, b["type"], fault)
		}
	}
	return ""
}

func validateBlock(b Block) string {
	switch b["type"] {
	case "divider":
		return ""
	case "header":
		return textObject(b["text"], 150, "plain_text")
	case "section":
		fields, _ := b["fields"].([]any)
		if b["text"] == nil && len(fields) == 0 {
			return "neither text nor fields"
		}
		if len(fields) > 10 {
			return fmt.Sprintf("%d fields, 10 are allowed", len(fields))
		}
		for _, f := range fields {
			if fault := textObject(f, 2000, ""); fault != "" {
				return "field: " + fault
			}
		}
		if b["text"] != nil {
			return textObject(b["text"], 3000, "")
		}
		return ""
	case "context":
		list, _ := b["elements"].([]any)
		if len(list) == 0 || len(list) > 10 {
			return fmt.Sprintf("%d elements, 1 to 10 are allowed", len(list))
		}
		for _, e := range list {
			if fault := textObject(e, 3000, ""); fault != "" {
				return fault
			}
		}
		return ""
	case "actions":
		list, _ := b["elements"].([]any)
		if len(list) == 0 || len(list) > 25 {
			return fmt.Sprintf("%d elements, 1 to 25 are allowed", len(list))
		}
		ids := map[any]bool{}
		for _, one := range list {
			e, _ := one.(map[string]any)
			if ids[e["action_id"]] {
				return fmt.Sprintf("action_id %v is there twice", e["action_id"])
			}
			ids[e["action_id"]] = true
			if fault := element(e); fault != "" {
				return fault
			}
		}
		return ""
	case "input":
		if fault := textObject(b["label"], 2000, "plain_text"); fault != "" {
			return "label: " + fault
		}
		e, _ := b["element"].(map[string]any)
		return element(e)
	}
	return "unknown type"
}

func textObject(value any, most int, kind string) string {
	t, ok := value.(map[string]any)
	if !ok {
		return "no text object"
	}
	text, _ := t["text"].(string)
	n := utf8.RuneCountInString(text)
	switch {
	case t["type"] != "mrkdwn" && t["type"] != "plain_text", kind != "" && t["type"] != kind:
		return fmt.Sprintf("text type %v", t["type"])
	case n == 0:
		return "empty text"
	case n > most:
		return fmt.Sprintf("text of %d characters, %d are allowed", n, most)
	case !utf8.ValidString(text):
		return "text is not UTF-8"
	case t["type"] == "mrkdwn" && pages(text):
		return "text pages a whole channel: " + text
	}
	return ""
}

// pages reports whether mrkdwn would notify everybody, which nothing of ours may.
func pages(text string) bool {
	return strings.Contains(text, "<!channel") || strings.Contains(text, "<!here") || strings.Contains(text, "<!everyone")
}

func element(e map[string]any) string {
	if id, _ := e["action_id"].(string); id == "" || len(id) > 255 {
		return "action_id is missing or too long"
	}
	switch e["type"] {
	case "button":
		if fault := textObject(e["text"], 75, "plain_text"); fault != "" {
			return "button: " + fault
		}
		if value, _ := e["value"].(string); utf8.RuneCountInString(value) > 2000 {
			return "button: value of more than 2000 characters"
		}
		if style := e["style"]; style != nil && style != "primary" && style != "danger" {
			return fmt.Sprintf("button: style %v", style)
		}
		return confirm(e["confirm"])
	case "external_select":
		if p := e["placeholder"]; p != nil {
			if fault := textObject(p, 150, "plain_text"); fault != "" {
				return "placeholder: " + fault
			}
		}
		if o := e["initial_option"]; o != nil {
			return option(o)
		}
		return ""
	}
	return fmt.Sprintf("unknown element %v", e["type"])
}

func confirm(value any) string {
	c, ok := value.(map[string]any)
	if !ok {
		return ""
	}
	for key, most := range map[string]int{"title": 100, "text": 300, "confirm": 30, "deny": 30} {
		if fault := textObject(c[key], most, ""); fault != "" {
			return "confirm " + key + ": " + fault
		}
	}
	return ""
}

func option(value any) string {
	o, _ := value.(map[string]any)
	if fault := textObject(o["text"], 75, ""); fault != "" {
		return "option: " + fault
	}
	if v, _ := o["value"].(string); v == "" || utf8.RuneCountInString(v) > 150 {
		return "option: value is missing or has more than 150 characters"
	}
	return ""
}

// validateView returns what Slack would refuse of a view.
func validateView(v map[string]any) string {
	text, err := json.Marshal(v["blocks"])
	if err != nil {
		return err.Error()
	}
	blocks, err := decodeBlocks(string(text))
	if err != nil {
		return err.Error()
	}
	if metadata, _ := v["private_metadata"].(string); utf8.RuneCountInString(metadata) > 3000 {
		return "private_metadata of more than 3000 characters"
	}
	if id, _ := v["callback_id"].(string); len(id) > 255 {
		return "callback_id of more than 255 characters"
	}
	if v["type"] == "modal" {
		for _, key := range []string{"title", "submit", "close"} {
			if v[key] == nil && key != "title" {
				continue
			}
			if fault := textObject(v[key], 24, "plain_text"); fault != "" {
				return key + ": " + fault
			}
		}
		for _, b := range blocks {
			if b["type"] == "input" && v["submit"] == nil {
				return "inputs without a submit button"
			}
		}
	}
	return validate(blocks, 100)
}
