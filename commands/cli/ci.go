package cli

import (
	"encoding/json"
	"net/mail"
	"os"
	"strings"

	"gimletd/releases"
)

// context is what a CI says of the run.
type ciRun struct {
	Version releases.Version
	Job     string
	URL     string // of the run
}

// detect asks the CI that the process runs in, if it is one that is known.
func detect(env func(string) string) ciRun {
	for _, ci := range []struct {
		here bool
		read func(func(string) string) (releases.Version, string, string)
	}{
		{env("GITHUB_ACTIONS") == "true", gitHubActions},
		{env("GITLAB_CI") == "true", gitLab},
		{env("CIRCLECI") == "true", circle},
		{env("CI") == "woodpecker", woodpecker},
		{env("TF_BUILD") == "True", azure},
		{env("JENKINS_URL") != "", jenkins},
	} {
		if !ci.here {
			continue
		}
		v, job, address := ci.read(env)
		if v.Tag != "" && v.Event == "" {
			v.Event = releases.EventTag
		}
		if v.Event == "" {
			v.Event = releases.EventPush
		}
		return ciRun{Version: v, Job: job, URL: address}
	}
	return ciRun{}
}

// variables are those of the version that manifests may use, as other shippers name them.
func variables(v releases.Version, job string) map[string]string {
	owner, repository, _ := strings.Cut(v.RepositoryName, "/")
	all := map[string]string{}
	for name, value := range map[string]string{
		"REPO": repository, "OWNER": owner, "BRANCH": first(v.SourceBranch, v.Branch), "TAG": v.Tag, "SHA": v.SHA, "ACTOR": v.AuthorName, "EVENT": string(v.Event), "JOB": job,
	} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

// gitHubActions: https://docs.github.com/en/actions/reference/workflows-and-actions/variables
func gitHubActions(env func(string) string) (v releases.Version, job, address string) {
	home := env("GITHUB_SERVER_URL") + "/" + env("GITHUB_REPOSITORY")
	v = releases.Version{RepositoryName: env("GITHUB_REPOSITORY"), SHA: env("GITHUB_SHA"), AuthorName: env("GITHUB_ACTOR")}
	switch {
	case env("GITHUB_HEAD_REF") != "":
		v.Event, v.SourceBranch, v.TargetBranch, v.Branch = releases.EventPR, env("GITHUB_HEAD_REF"), env("GITHUB_BASE_REF"), env("GITHUB_HEAD_REF")
		v.SHA = first(pullRequestHead(env("GITHUB_EVENT_PATH")), v.SHA) // not the merge that only the CI has
	case env("GITHUB_REF_TYPE") == "tag":
		v.Tag = env("GITHUB_REF_NAME")
	default:
		v.Branch = env("GITHUB_REF_NAME")
	}
	v.URL = home + "/commit/" + v.SHA
	return v, env("GITHUB_JOB"), home + "/actions/runs/" + env("GITHUB_RUN_ID")
}

func pullRequestHead(file string) string {
	var event struct {
		PullRequest struct {
			Head struct {
				SHA string `json:"sha"`
			} `json:"head"`
		} `json:"pull_request"`
	}
	text, err := os.ReadFile(file) //nolint:gosec // the CI names it
	if err != nil || json.Unmarshal(text, &event) != nil {
		return ""
	}
	return event.PullRequest.Head.SHA
}

// gitLab: https://docs.gitlab.com/ci/variables/predefined_variables/
func gitLab(env func(string) string) (v releases.Version, job, address string) {
	v = releases.Version{
		RepositoryName: env("CI_PROJECT_PATH"), SHA: env("CI_COMMIT_SHA"), Branch: env("CI_COMMIT_BRANCH"), Tag: env("CI_COMMIT_TAG"), Message: env("CI_COMMIT_MESSAGE"),
		URL: env("CI_PROJECT_URL") + "/-/commit/" + env("CI_COMMIT_SHA"),
	}
	if author, err := mail.ParseAddress(env("CI_COMMIT_AUTHOR")); err == nil {
		v.AuthorName, v.AuthorEmail = author.Name, author.Address
	}
	v.Created, _ = moment(env("CI_COMMIT_TIMESTAMP"))
	if source := env("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"); source != "" {
		v.Event, v.SourceBranch, v.TargetBranch, v.Branch = releases.EventPR, source, env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"), source
		v.SHA = first(env("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"), v.SHA)
	}
	return v, env("CI_JOB_NAME"), env("CI_PIPELINE_URL")
}

// circle: https://circleci.com/docs/reference/variables/
func circle(env func(string) string) (v releases.Version, job, address string) {
	v = releases.Version{
		RepositoryName: env("CIRCLE_PROJECT_USERNAME") + "/" + env("CIRCLE_PROJECT_REPONAME"), SHA: env("CIRCLE_SHA1"), Branch: env("CIRCLE_BRANCH"), Tag: env("CIRCLE_TAG"),
		AuthorName: env("CIRCLE_USERNAME"),
	}
	if env("CIRCLE_PULL_REQUEST") != "" {
		v.Event, v.SourceBranch = releases.EventPR, env("CIRCLE_BRANCH")
	}
	return v, env("CIRCLE_JOB"), env("CIRCLE_BUILD_URL")
}

// woodpecker: https://woodpecker-ci.org/docs/usage/environment
func woodpecker(env func(string) string) (v releases.Version, job, address string) {
	v = releases.Version{
		RepositoryName: env("CI_REPO"), SHA: env("CI_COMMIT_SHA"), Branch: env("CI_COMMIT_BRANCH"), Tag: env("CI_COMMIT_TAG"), Message: env("CI_COMMIT_MESSAGE"),
		AuthorName: env("CI_COMMIT_AUTHOR"), AuthorEmail: env("CI_COMMIT_AUTHOR_EMAIL"), URL: env("CI_PIPELINE_FORGE_URL"),
	}
	if env("CI_PIPELINE_EVENT") == "pull_request" {
		v.Event, v.SourceBranch, v.TargetBranch = releases.EventPR, env("CI_COMMIT_SOURCE_BRANCH"), env("CI_COMMIT_TARGET_BRANCH")
		v.Branch = v.SourceBranch
	}
	return v, env("CI_WORKFLOW_NAME"), env("CI_PIPELINE_URL")
}

// azure: https://learn.microsoft.com/en-us/azure/devops/pipelines/build/variables
func azure(env func(string) string) (v releases.Version, job, address string) {
	v = releases.Version{
		RepositoryName: env("BUILD_REPOSITORY_NAME"), SHA: env("BUILD_SOURCEVERSION"), Message: env("BUILD_SOURCEVERSIONMESSAGE"),
		AuthorName: env("BUILD_REQUESTEDFOR"), AuthorEmail: env("BUILD_REQUESTEDFOREMAIL"),
	}
	ref := env("BUILD_SOURCEBRANCH")
	switch {
	case env("SYSTEM_PULLREQUEST_SOURCEBRANCH") != "":
		v.Event, v.SourceBranch = releases.EventPR, strings.TrimPrefix(env("SYSTEM_PULLREQUEST_SOURCEBRANCH"), headRefs)
		v.TargetBranch, v.Branch = strings.TrimPrefix(env("SYSTEM_PULLREQUEST_TARGETBRANCH"), headRefs), v.SourceBranch
		v.SHA = first(env("SYSTEM_PULLREQUEST_SOURCECOMMITID"), v.SHA)
	case strings.HasPrefix(ref, tagRefs):
		v.Tag = strings.TrimPrefix(ref, tagRefs)
	default:
		v.Branch = strings.TrimPrefix(ref, headRefs)
	}
	if home := env("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"); home != "" {
		address = home + env("SYSTEM_TEAMPROJECT") + "/_build/results?buildId=" + env("BUILD_BUILDID")
	}
	return v, env("SYSTEM_JOBDISPLAYNAME"), address
}

const (
	headRefs = "refs/heads/"
	tagRefs  = "refs/tags/"
)

// jenkins: https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
func jenkins(env func(string) string) (v releases.Version, job, address string) {
	v = releases.Version{
		RepositoryName: RepositoryName(env("GIT_URL")), SHA: env("GIT_COMMIT"), Branch: first(env("BRANCH_NAME"), strings.TrimPrefix(env("GIT_BRANCH"), "origin/")), Tag: env("TAG_NAME"),
		AuthorName: env("GIT_AUTHOR_NAME"), AuthorEmail: env("GIT_AUTHOR_EMAIL"),
	}
	if source := env("CHANGE_BRANCH"); source != "" {
		v.Event, v.SourceBranch, v.TargetBranch, v.Branch = releases.EventPR, source, env("CHANGE_TARGET"), source
	}
	if v.Tag != "" {
		v.Branch = ""
	}
	return v, env("JOB_NAME"), env("BUILD_URL")
}

// RepositoryName is owner/name of a repository's URL.
func RepositoryName(remote string) string {
	path := remote
	if _, rest, ok := strings.Cut(remote, "://"); ok {
		_, path, _ = strings.Cut(rest, "/")
	} else if _, rest, ok := strings.Cut(remote, ":"); ok {
		path = rest
	}
	return strings.TrimSuffix(strings.Trim(path, "/"), ".git")
}
