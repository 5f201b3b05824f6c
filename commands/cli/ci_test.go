package cli

import (
	"os"
	"path/filepath"
	"testing"

	"gimletd/releases"

	"github.com/google/go-cmp/cmp"
)

// TestWhatEachCISays gives what each documents to set, and nothing else.
func TestWhatEachCISays(t *testing.T) {
	event := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(event, []byte(`{"pull_request": {"head": {"sha": "abc"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	push := releases.Version{RepositoryName: "acme/web", SHA: "abc", Branch: "main", Event: releases.EventPush}
	tag := releases.Version{RepositoryName: "acme/web", SHA: "abc", Tag: "v1", Event: releases.EventTag}
	pull := releases.Version{RepositoryName: "acme/web", SHA: "abc", Branch: "fix", SourceBranch: "fix", TargetBranch: "main", Event: releases.EventPR}
	for _, c := range []struct {
		name string
		env  map[string]string
		want releases.Version
		url  string // of the run
	}{
		{"GitHub, push", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://gh", "GITHUB_REPOSITORY": "acme/web", "GITHUB_SHA": "abc", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main", "GITHUB_RUN_ID": "1"}, push, "https://gh/acme/web/actions/runs/1"},
		{"GitHub, tag", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://gh", "GITHUB_REPOSITORY": "acme/web", "GITHUB_SHA": "abc", "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1", "GITHUB_RUN_ID": "1"}, tag, "https://gh/acme/web/actions/runs/1"},
		{"GitHub, pull request", map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://gh", "GITHUB_REPOSITORY": "acme/web", "GITHUB_SHA": "merge", "GITHUB_HEAD_REF": "fix", "GITHUB_BASE_REF": "main", "GITHUB_REF_NAME": "7/merge", "GITHUB_EVENT_PATH": event, "GITHUB_RUN_ID": "1"}, pull, "https://gh/acme/web/actions/runs/1"},
		{"GitLab, push", map[string]string{"GITLAB_CI": "true", "CI_PROJECT_PATH": "acme/web", "CI_COMMIT_SHA": "abc", "CI_COMMIT_BRANCH": "main", "CI_PIPELINE_URL": "https://gl/1"}, push, "https://gl/1"},
		{"GitLab, tag", map[string]string{"GITLAB_CI": "true", "CI_PROJECT_PATH": "acme/web", "CI_COMMIT_SHA": "abc", "CI_COMMIT_TAG": "v1", "CI_PIPELINE_URL": "https://gl/1"}, tag, "https://gl/1"},
		{"GitLab, merge request", map[string]string{"GITLAB_CI": "true", "CI_PROJECT_PATH": "acme/web", "CI_COMMIT_SHA": "abc", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_PIPELINE_URL": "https://gl/1"}, pull, "https://gl/1"},
		{"CircleCI, push", map[string]string{"CIRCLECI": "true", "CIRCLE_PROJECT_USERNAME": "acme", "CIRCLE_PROJECT_REPONAME": "web", "CIRCLE_SHA1": "abc", "CIRCLE_BRANCH": "main", "CIRCLE_BUILD_URL": "https://cc/1"}, push, "https://cc/1"},
		{"CircleCI, tag", map[string]string{"CIRCLECI": "true", "CIRCLE_PROJECT_USERNAME": "acme", "CIRCLE_PROJECT_REPONAME": "web", "CIRCLE_SHA1": "abc", "CIRCLE_TAG": "v1", "CIRCLE_BUILD_URL": "https://cc/1"}, tag, "https://cc/1"},
		{"Jenkins, push", map[string]string{"JENKINS_URL": "https://j", "GIT_URL": "git@github.com:acme/web.git", "GIT_COMMIT": "abc", "GIT_BRANCH": "origin/main", "BUILD_URL": "https://j/1"}, push, "https://j/1"},
		{"Jenkins, tag", map[string]string{"JENKINS_URL": "https://j", "GIT_URL": "https://x@git.example/acme/web.git", "GIT_COMMIT": "abc", "BRANCH_NAME": "v1", "TAG_NAME": "v1", "BUILD_URL": "https://j/1"}, tag, "https://j/1"},
		{"Jenkins, pull request", map[string]string{"JENKINS_URL": "https://j", "GIT_URL": "ssh://git@git.example:22/acme/web", "GIT_COMMIT": "abc", "BRANCH_NAME": "PR-7", "CHANGE_BRANCH": "fix", "CHANGE_TARGET": "main", "BUILD_URL": "https://j/1"}, pull, "https://j/1"},
		{"Woodpecker, push", map[string]string{"CI": "woodpecker", "CI_REPO": "acme/web", "CI_COMMIT_SHA": "abc", "CI_COMMIT_BRANCH": "main", "CI_PIPELINE_EVENT": "push", "CI_PIPELINE_URL": "https://w/1"}, push, "https://w/1"},
		{"Woodpecker, pull request", map[string]string{"CI": "woodpecker", "CI_REPO": "acme/web", "CI_COMMIT_SHA": "abc", "CI_COMMIT_BRANCH": "main", "CI_PIPELINE_EVENT": "pull_request", "CI_COMMIT_SOURCE_BRANCH": "fix", "CI_COMMIT_TARGET_BRANCH": "main", "CI_PIPELINE_URL": "https://w/1"}, pull, "https://w/1"},
		{"Azure, push", map[string]string{"TF_BUILD": "True", "BUILD_REPOSITORY_NAME": "acme/web", "BUILD_SOURCEVERSION": "abc", "BUILD_SOURCEBRANCH": "refs/heads/main", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "https://az/", "SYSTEM_TEAMPROJECT": "p", "BUILD_BUILDID": "1"}, push, "https://az/p/_build/results?buildId=1"},
		{"Azure, tag", map[string]string{"TF_BUILD": "True", "BUILD_REPOSITORY_NAME": "acme/web", "BUILD_SOURCEVERSION": "abc", "BUILD_SOURCEBRANCH": "refs/tags/v1"}, tag, ""},
		{"Azure, pull request", map[string]string{"TF_BUILD": "True", "BUILD_REPOSITORY_NAME": "acme/web", "BUILD_SOURCEVERSION": "merge", "BUILD_SOURCEBRANCH": "refs/pull/7/merge", "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/fix", "SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/main", "SYSTEM_PULLREQUEST_SOURCECOMMITID": "abc"}, pull, ""},
		{"none", nil, releases.Version{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := detect(func(name string) string { return c.env[name] })
			got.Version.URL = "" // each host's own
			if diff := cmp.Diff(c.want, got.Version); diff != "" || got.URL != c.url {
				t.Errorf("%s, at %q", diff, got.URL)
			}
			if vars := variables(got.Version, got.Job); c.env != nil && (vars["SHA"] != "abc" || vars["REPO"] != "web" || vars["OWNER"] != "acme") {
				t.Errorf("vars %v", vars)
			}
		})
	}
}

func TestAFlagIsNotMixedWithAnotherCommit(t *testing.T) {
	ci := releases.Version{RepositoryName: "acme/web", SHA: "abc", Branch: "main", Event: releases.EventPush, AuthorName: "Ada", Message: "m"}
	got := fill(releases.Version{SHA: "def", Tag: "v1"}, ci, true)
	if diff := cmp.Diff(releases.Version{RepositoryName: "acme/web", SHA: "def", Tag: "v1"}, got); diff != "" {
		t.Error(diff)
	}
	got = fill(releases.Version{Tag: "v1"}, ci, true)
	if diff := cmp.Diff(releases.Version{RepositoryName: "acme/web", SHA: "abc", Tag: "v1", AuthorName: "Ada", Message: "m"}, got); diff != "" {
		t.Error(diff)
	}
}
