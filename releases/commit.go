package releases

import (
	"regexp"
	"strings"
)

// ReleaseTrailer is the trailer by which a release's commit is found again, after a crash and after a rebase.
const ReleaseTrailer = "Release-Id"

// AuditTrailer anchors the audit: the number and hash of its newest record when the release began to be published.
const AuditTrailer = "Audit-Head"

// CommitMessage is the message of the release's commit: a subject, what the source's author wrote, its URL, and
// trailers (git-interpret-trailers).
func CommitMessage(r Release) string {
	var b strings.Builder
	b.WriteString(oneLine(r.Subject()))
	b.WriteString("\n\n")
	if text := quoteBody(r.Version.Message); text != "" {
		b.WriteString(text)
		b.WriteString("\n\n")
	}
	if r.Version.URL != "" {
		b.WriteString(oneLine(r.Version.URL))
		b.WriteString("\n\n")
	}
	trailers := [][2]string{{ReleaseTrailer, r.ID}, {"Artifact-Id", r.ArtifactID}, {"Requested-by", r.RequestedBy.signature()}}
	for _, v := range r.Approvals() {
		trailers = append(trailers, [2]string{"Approved-by", v.By.signature()})
		if v.For != nil {
			trailers = append(trailers, [2]string{"On-behalf-of", v.For.signature()})
		}
	}
	if r.broken() {
		for _, a := range []Actor{r.Glass.By, *r.Glass.Second} {
			trailers = append(trailers, [2]string{"Break-glass-by", a.signature()})
		}
		trailers = append(trailers, [2]string{"Break-glass-reason", Redact(r.Glass.Reason)})
	}
	trailers = append(trailers, [][2]string{{"Policy", r.Policy}, {"Plan-Digest", r.Plan.Digest}, {"Rollback-Of", r.RollbackOf}, {AuditTrailer, r.AuditHead}}...)
	for _, trailer := range trailers {
		if trailer[1] != "" {
			b.WriteString(trailer[0] + ": " + oneLine(trailer[1]) + "\n")
		}
	}
	return b.String()
}

// signature is the actor as git writes people.
func (a Actor) signature() string {
	if a.Email == "" {
		return a.Name
	}
	return a.Name + " <" + a.Email + ">"
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// trailerLike matches a line that git or our own search could take for a trailer.
var trailerLike = regexp.MustCompile(`(?m)^([A-Za-z][A-Za-z0-9-]*)(\s*:)`)

// quoteBody takes over a commit message of the source repository, whose words must not act as trailers here.
func quoteBody(message string) string {
	const most = 2000
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + " …"
	}
	return trailerLike.ReplaceAllString(strings.TrimSpace(message), " $1$2")
}

// ReleaseIDOf returns the id in the message's trailers, or "".
func ReleaseIDOf(message string) string { return trailer(message, ReleaseTrailer) }

// AnchorOf returns the audit's record that the message anchors.
func AnchorOf(message, commit string) (Anchor, bool) {
	if ReleaseIDOf(message) == "" {
		return Anchor{}, false
	}
	return ParseAnchor(trailer(message, AuditTrailer), commit)
}

// trailer returns the first value of a trailer of the message, or "".
func trailer(message, name string) string {
	paragraphs := strings.Split(strings.TrimRight(message, "\n"), "\n\n")
	for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
