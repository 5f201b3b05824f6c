package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimletd/releases/gitops"
)

// environment is a process's, for tests.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := vars[name]; return value, ok }
}

func TestExampleConfigurationIsGood(t *testing.T) {
	text, err := os.ReadFile("config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig("config.example.yaml", text, environment(map[string]string{
		"GIMLETD_ADMIN_TOKEN": "a", "GITOPS_TOKEN": "b", "CHARTS_PASSWORD": "c",
		"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "DISCORD_BOT_TOKEN": "e", "PROMETHEUS_TOKEN": "d", "GITHUB_WEBHOOK_SECRET": "sixteen characters", "GITLAB_SIGNING_TOKEN": "sixteen characters",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.GitOps["main"].Auth.Password.Reveal() != "b" || len(c.Environments) != 3 || c.Environments[1].GitOps != "main" || *c.Environments[1].Path != "production" {
		t.Errorf("got %+v", c)
	}
}

func TestTwoKeysMakeAConfiguration(t *testing.T) {
	c, err := parseConfig("c.yaml", []byte("gitops: {main: {url: /srv/gitops.git}}\nenvironments: [{name: staging}]\n"), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := gitops.Config{URL: "/srv/gitops.git"}.WithDefaults("main", "data")
	if c.GitOps["main"] != want || c.Server.Listen != "127.0.0.1:8888" {
		t.Errorf("got %+v", c)
	}
}

func TestAllFaultsAreReportedAtOnceWithTheirLines(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown keys", "gitop:\n  main: {url: x}\nenvironments:\n- nme: staging\n  chanels: []\nlog: {levl: info}\n", []string{
			"c.yaml:1: gitop: unknown key; did you mean gitops?",
			"c.yaml:4: environments[0].nme: unknown key; did you mean name?",
			"c.yaml:5: environments[0].chanels: unknown key; did you mean channels?",
			"c.yaml:6: log.levl: unknown key; did you mean level?",
		}},
		{"keys of features that are not there", "telegram: {botToken: x}\n", []string{"c.yaml:1: telegram: unknown key; there are: charts, discord"}},
		{"wrong types", "gitops: {main: {url: [1]}}\nenvironments: {a: b}\n", []string{"c.yaml:1: cannot unmarshal !!seq into string", "c.yaml:2: cannot unmarshal !!map into []main.EnvironmentConfig"}},
		{"bad values", `server: {listen: nowhere}
log: {level: loud}
gitops:
  main:
    url: ssh://git@github.com/acme/gitops.git
    branch: "a b"
charts:
  - url: ssh://git.example/acme/charts.git
environments:
  - name: Staging
    gitops: other
    rollout: argocd
    kubeVersion: new
    channels: ["slack:#x"]
  - name: production
    gitops: main
    path: ../x
`, []string{
			`c.yaml:1: server.listen: "nowhere" is not host:port`,
			`c.yaml:2: log.level: "loud" is not debug, info, warn or error`,
			`c.yaml:4: gitops.main.auth.sshKeyFile: missing`,
			`c.yaml:4: gitops.main.auth.knownHostsFile: missing`,
			`c.yaml:6: gitops.main.branch: "a b" cannot be a branch's name`,
			`c.yaml:8: charts[0].sshKeyFile: missing; a repository over ssh needs a key`,
			`c.yaml:10: environments[0].name: "Staging" is not a DNS-1123 label`,
			`c.yaml:11: environments[0].gitops: there is no gitops repository "other"; there are: main`,
			`c.yaml:12: environments[0].rollout: "argocd" is not supported: only flux and none`,
			`c.yaml:13: environments[0].kubeVersion: "new" is not a version`,
			`c.yaml:14: environments[0].channels[0]: "slack:#x" is on Slack, which is not configured`,
			`c.yaml:17: environments[1].path: "../x" is not a plain relative path`,
		}},
		{"chat", `gitops: {main: {url: /x}}
server: {publicURL: "not a url"}
environments:
  - {name: staging, channels: ["slack:staging", "irc:#x"], approval: {from: [nobody]}}
  - {name: production, approval: {count: 2, from: [few], not: [everybody]}}
  - {name: preview, approval: {count: 1, from: [lookers]}}
people:
  - {name: Ada, email: ada, slack: "@ada"}
  - {name: Grace, email: grace@x, slack: U123}
roles:
  - {name: few, members: [grace@x, "slack:U123"], can: [approve]}
  - {name: lookers, members: ["slack:@l", "bob@x", "discord:1"], can: [fly], environments: [moon]}
  - {name: few, can: []}
slack: {botToken: abc, appToken: xoxb-1, signingSecret: s, commands: {release: release, rollback: /gimlet}, apiURL: here}
notify: {fallback: "slack:x y", owner: ada}
`, []string{
			`c.yaml:2: server.publicURL: "not a url" is not a URL`,
			`c.yaml:4: environments[0].channels[0]: "slack:staging" is not a Slack channel`,
			`c.yaml:4: environments[0].channels[1]: "irc:#x" is not a channel`,
			`c.yaml:4: environments[0].approval.from[0]: there is no role "nobody"`,
			`c.yaml:4: environments[0].approval.count: missing`,
			`c.yaml:5: environments[1].approval.not[0]: "everybody" is not requester or authors`,
			`c.yaml:5: environments[1].approval.count: 2 votes are needed, but only 1 people could vote`,
			`c.yaml:6: environments[2].approval: nobody could vote`,
			`c.yaml:8: people[0].email: "ada" is not an e-mail address`,
			`c.yaml:8: people[0].slack: "@ada" is not a Slack user id`,
			`c.yaml:12: roles[1].can[0]: "fly" is not one of: release, rollback, approve`,
			`c.yaml:12: roles[1].members[1]: "bob@x" is not the e-mail address of anybody in people`,
			`c.yaml:12: roles[1].members[2]: "discord:1" is on Discord, which is not configured`,
			`c.yaml:12: roles[1].environments[0]: there is no environment "moon"`,
			`c.yaml:13: roles[2].name: there is another role "few"`,
			`c.yaml:13: roles[2].can: missing`,
			`c.yaml:14: slack.signingSecret: appToken is set, too`,
			`c.yaml:14: slack.appToken: does not begin with xapp-`,
			`c.yaml:14: slack.botToken: does not begin with xoxb-`,
			`c.yaml:14: slack.apiURL: "here" is not a URL`,
			`c.yaml:14: slack.commands.release: "release" is not a slash command`,
			`c.yaml:14: slack.commands.gimlet: there is another command /gimlet`,
			`c.yaml:15: notify.fallback: "slack:x y" is not a Slack channel`,
			`c.yaml:15: notify.owner: "ada" is not a person`,
		}},
		{"policies", `gitops: {main: {url: /x}}
environments: [{name: staging, previews: {ttl: 1s, max: -1}}, {name: production}]
webhooks: {github: {secret: short}}
policies:
  - {name: Nightly Promotion, schedule: "0 2 * * *", timezone: UTC, from: {environment: staging}, to: production}
  - {name: never, schedule: "0 0 30 2 *", timezone: UTC, from: {environment: staging}, to: production}
  - {name: fields, schedule: "0 2 * *", timezone: UTC, from: {environment: staging}, to: production}
  - {name: nowhere, schedule: "0 2 * * *", timezone: Mars/Olympus, from: {environment: stagin}, to: prodution}
  - {name: never, schedule: "0 2 * * *", from: {environment: staging, branch: main}, to: production, missed: maybe}
  - {name: deploy, schedule: "0 2 * * *", timezone: UTC, from: {branch: "a[", soak: 1h}, to: production, apps: ["{"]}
  - {name: itself, schedule: "*/10 * * * *", timezone: UTC, from: {environment: staging, healthy: true, soak: 2400h}, to: staging, jitter: 6m}
  - name: gates
    schedule: "0 2 * * *"
    timezone: UTC
    from: {environment: staging}
    to: production
    gates:
      - {name: a, http: {url: "https://x/", status: 99}}
  - name: more-gates
    schedule: "0 2 * * *"
    timezone: UTC
    from: {tag: v*}
    to: production
    gates:
      - {name: a, rollout: healthy, timeout: 48h}
  - name: no-gate
    schedule: "0 2 * * *"
    timezone: UTC
    from: {tag: v*}
    to: production
    gates:
      - {name: a}
`, []string{
			`c.yaml:2: environments[0].previews.ttl: 1s is not between a minute and a year`,
			`c.yaml:2: environments[0].previews.max: -1 is not between 0 and 1000`,
			`c.yaml:3: webhooks.github.secret: 5 characters can be guessed`,
			`c.yaml:5: policies[0].name: "Nightly Promotion" is not a name of lower-case letters`,
			`c.yaml:6: policies[1].schedule: that day never comes`,
			`c.yaml:7: policies[2].schedule: "0 2 * *" is not a schedule of five fields`,
			`c.yaml:8: policies[3].timezone: there is no time zone "Mars/Olympus"`,
			`c.yaml:8: policies[3].to: there is no environment "prodution"; did you mean production?`,
			`c.yaml:8: policies[3].from.environment: there is no environment "stagin"; did you mean staging?`,
			`c.yaml:9: policies[4].name: there is another policy "never"`,
			`c.yaml:9: policies[4].timezone: "" is not a time zone`,
			`c.yaml:9: policies[4].from: names 2 of environment, branch and tag; it must be one`,
			`c.yaml:9: policies[4].missed: "maybe" is not run or skip`,
			`c.yaml:10: policies[5].name: there is another policy "deploy"`,
			`c.yaml:10: policies[5].apps[0]: bad glob`,
			`c.yaml:10: policies[5].from.branch: bad glob`,
			`c.yaml:10: policies[5].from: soak and healthy are about an environment; branch a[ is none`,
			`c.yaml:11: policies[6].jitter: 6m0s is more than half of the 10m0s between two runs`,
			`c.yaml:11: policies[6].to: is where it comes from`,
			`c.yaml:11: policies[6].from.soak: 2400h0m0s is not between 0 and 90 days`,
			`c.yaml:11: policies[6].from.healthy: staging has rollout: none`,
			`c.yaml:18: policies[7].gates[0].http.status: 99 is not an HTTP status`,
			`c.yaml:25: policies[8].gates[0].timeout: 48h0m0s is not between a second and a day`,
			`c.yaml:25: policies[8].gates[0].rollout: needs from.environment`,
			`c.yaml:32: policies[9].gates[0].name: a gate asks one of prometheus, http and rollout`,
		}},
		{"Slack without a token", "gitops: {main: {url: /x}}\nenvironments: [{name: staging, channels: [\"slack:#x\"]}]\nslack: {signingSecret: s}\n", []string{
			`c.yaml:2: environments[0].channels[0]: "slack:#x" is on Slack, which is not configured`, `c.yaml:3: slack.botToken: missing`,
		}},
		{"Discord without a token", "gitops: {main: {url: /x}}\nenvironments: [{name: staging, channels: [\"discord:1\"]}]\ndiscord: {guildID: \"1\"}\nroles: [{name: r, can: [release], members: [\"discord:2\"]}]\n", []string{
			`c.yaml:2: environments[0].channels[0]: "discord:1" is on Discord, which is not configured`, `c.yaml:3: discord.botToken: missing`,
			`c.yaml:4: roles[0].members[0]: "discord:2" is on Discord, which is not configured`,
		}},
		{"a wrong Discord", `gitops: {main: {url: /x}}
environments: [{name: staging, channels: ["discord:#general"]}]
people: [{name: Ada, email: ada@x, discord: ada}]
roles: [{name: r, can: [release], members: ["discord:@devs", "discord:role:devs"]}]
discord:
  botToken: Bot abc
  applicationID: "abc"
  guildID: ""
  publicKey: "12"
  apiURL: discord.com
  commands: {release: release, rollback: /gimlet}
notify: {owner: "discord:role:1"}
`, []string{
			`c.yaml:2: environments[0].channels[0]: "discord:#general" is not a Discord channel`,
			`c.yaml:3: people[0].discord: "ada" is not a Discord user id`,
			`c.yaml:4: roles[0].members[0]: "discord:@devs" is not a Discord role (discord:role:<id>) or person`,
			`c.yaml:4: roles[0].members[1]: "discord:role:devs" is not a Discord role`,
			`c.yaml:6: discord.botToken: is the token alone`,
			`c.yaml:7: discord.applicationID: "abc" is not an id`,
			`c.yaml:8: discord.guildID: "" is not an id`,
			`c.yaml:9: discord.publicKey: is not 64 hexadecimal digits`,
			`c.yaml:10: discord.apiURL: "discord.com" is not a URL`,
			`c.yaml:11: discord.commands.release: "release" is not a slash command`,
			`c.yaml:11: discord.commands.gimlet: there is another command /gimlet`,
			`c.yaml:12: notify.owner: "discord:role:1" is not a person`,
		}},
		{"nothing", "", []string{"c.yaml:1: gitops: missing", "c.yaml:1: environments: missing"}},
		{"no YAML", "a: [", []string{"c.yaml: line 1: did not find expected node content"}},
		{"an unset variable", "gitops: {main: {url: \"${GITOPS}\"}}\nenvironments: [{name: staging}]\n", []string{"c.yaml:1: the environment variable GITOPS is not set"}},
		{"a secret twice", "gitops: {main: {url: /x, auth: {password: a, passwordFile: /b}}}\nenvironments: [{name: staging}]\n", []string{"c.yaml:1: gitops.main.auth.password: is set, and gitops.main.auth.passwordFile too"}},
		{"issuers", "gitops: {main: {url: /x}}\nserver:\n  oidc:\n    - {name: GitHub, issuer: http://ci.example, audience: x, claim: repository, repositories: [acme/*]}\n    - {name: a, issuer: https://ci.example}\n    - {name: a, issuer: https://ci.example, audience: x, claim: y, repositories: [\"[\"]}\n    - {name: b, issuer: https://token.actions.githubusercontent.com, audience: x, claim: y, repositories: [\"*/web\", \"!acme/x\"]}\nenvironments: [{name: staging}]\n", []string{
			`c.yaml:4: server.oidc[0].name: "GitHub" is not a name`,
			`c.yaml:4: server.oidc[0].issuer: "http://ci.example" is not the https:// URL`,
			`c.yaml:5: server.oidc[1].audience: missing`,
			`c.yaml:5: server.oidc[1].claim: missing`,
			`c.yaml:5: server.oidc[1].repositories: missing`,
			`c.yaml:6: server.oidc[2].name: "a" is not a name`,
			`c.yaml:6: server.oidc[2].issuer: "https://ci.example" is there already`,
			`c.yaml:6: server.oidc[2].repositories[0]: "[" is not a glob`,
			`c.yaml:6: server.oidc[2].repositories: names only what is left out`,
			`c.yaml:7: server.oidc[3].repositories[0]: "*/web" would let in runs of owners that are not yours`,
			`c.yaml:7: server.oidc[3].repositories: names only what is left out`,
		}},
		{"charts", "gitops: {main: {url: /x}}\ncharts:\n  - {url: https://c.example, keyring: /nope.gpg}\n  - {url: https://c.example/x.git, keyring: /nope.gpg}\n  - {url: \"ssh://git:secret@c.example/x.git\"}\n  - {url: ssh://git@c.example/charts}\nenvironments: [{name: staging}]\n", []string{
			`c.yaml:3: charts[0].keyring: open /nope.gpg: no such file`,
			`c.yaml:4: charts[1].keyring: charts in git repositories have no signatures`,
			`c.yaml:5: charts[2].url: has credentials in it`,
			`c.yaml:6: charts[3].url: "ssh://git@c.example/charts": over ssh there are git repositories`,
		}},
		{"a missing secret", "gitops: {main: {url: /x}}\nserver:\n  adminTokenFile: /nope\nenvironments: [{name: staging}]\n", []string{"c.yaml:3: server.adminTokenFile: open /nope: no such file"}},
		{"two environments in one place", "gitops: {main: {url: /x}}\nenvironments: [{name: a}, {name: b, path: a}]\n", []string{"c.yaml:2: environments[1].path: is inside or around the folder of a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseConfig("c.yaml", []byte(c.text), environment(nil))
			if err == nil {
				t.Fatal("it was accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			for i, want := range c.want {
				if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
					t.Errorf("missing: %s", want)
				}
			}
			if t.Failed() || len(lines) != len(c.want) {
				t.Errorf("all of it:\n%v", err)
			}
		})
	}
}

func TestFaultsOfWhatControlsReleases(t *testing.T) {
	const frame = `gitops: {main: {url: /srv/gitops.git}}
people: [{name: Ada, email: ada@example.com}, {name: Grace, email: grace@example.com}]
roles:
  - {name: both, members: [ada@example.com, grace@example.com], can: [approve]}
  - {name: one, members: [ada@example.com], can: [approve]}
  - {name: lookers, members: [grace@example.com], can: [release]}
environments:
`
	for _, c := range []struct{ env, want string }{
		{"freezes: [{name: x, start: 0 16 * * 5, duration: 64h, timezone: Europe/Atlantis}]", `freezes[0].timezone: there is no time zone "Europe/Atlantis"`},
		{"freezes: [{name: x, start: 0 16 * *, duration: 64h, timezone: UTC}]", `freezes[0].start: "0 16 * *" is not a schedule`},
		{"freezes: [{name: x, start: 0 0 30 2 *, duration: 64h, timezone: UTC}]", "freezes[0].start: that day never comes"},
		{"freezes: [{name: x, start: 0 0 * * *, duration: 24h, timezone: UTC}]", "freezes[0].duration: it begins again before it ends"},
		{"freezes: [{name: x, start: 0 0 * * *, timezone: UTC}]", "freezes[0].duration: 0s is less than a minute"},
		{"freezes: [{start: 0 0 * * *, duration: 1h, timezone: UTC}]", "freezes[0].name: "},
		{"freezes: [{name: x, start: 0 0 * * *, duration: 1h, timezone: UTC}, {name: x, start: 0 1 * * *, duration: 1h, timezone: UTC}]", "freezes[1].name: there is another freeze"},
		{"freezes: [{name: a, start: 0 0 * * *, duration: 13h, timezone: UTC}, {name: b, start: 0 12 * * *, duration: 12h, timezone: UTC}]", "freezes: together they never open"},
		{"freezes: [{name: a, start: 0 0 * * *, duration: 13h, timezone: UTC}, {name: b, start: 0 12 * * *, duration: 11h, timezone: UTC}]", ""},
		{"freezes: [{name: a, start: 0 16 * * 5, duration: 64h, timezone: Europe/Budapest}, {name: b, start: 0 0 24 12 *, duration: 240h, timezone: UTC}]", ""},
		{"approval: {groups: [{count: 1, from: [both]}, {count: 1, from: [one]}]}", ""},
		{"approval: {groups: [{count: 2, from: [both]}, {count: 1, from: [one]}]}", "approval.groups: there are too few people: each counts for one of the groups only"},
		{"approval: {groups: [{count: 1, from: [lookers]}, {count: 1, from: [one]}]}", "approval: nobody could vote: no role with members of lookers can approve"},
		{"approval: {groups: [{count: 3, from: [both]}]}", "approval.groups[0].count: 3 votes are needed, but only 2 people could vote"},
		{"approval: {groups: [{from: [both]}]}", "approval.groups[0].count: missing"},
		{"approval: {groups: [{count: 1, from: [nobody]}]}", `approval.groups[0].from[0]: there is no role "nobody"`},
		{"approval: {count: 1, groups: [{count: 1}]}", "approval.groups: count and from are set, too"},
		{"rollbacks: [votes]", `rollbacks[0]: "votes" is not approval, freeze or lock`},
		{"rollbacks: [approval, freeze, lock]", ""},
		{"maxCommits: -1", "maxCommits: -1 is not between 0 and 400"},
		{"maxCommits: 10", ""},
		{"pause: 2h", "pause: 2h0m0s is not between 0 and an hour"},
	} {
		_, err := parseConfig("c.yaml", []byte(frame+"  - {name: production, "+c.env+"}\n"), environment(nil))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), "c.yaml:8: environments[0]."+c.want)) {
			t.Errorf("%s: %v, not %q", c.env, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"timezone: Mars/Olympus\n": `timezone: there is no time zone "Mars/Olympus"`,
		"timezone: Local\n":        `timezone: "Local" is not a time zone`,
		"roles: [{name: r, members: [\"token:\"], can: [fly]}]\n": `roles[0].can[0]: "fly" is not one of: release, rollback, approve, lock, freeze, break-glass`,
	} {
		_, err := parseConfig("c.yaml", []byte("gitops: {main: {url: /srv/gitops.git}}\nenvironments: [{name: staging}]\n"+text), environment(nil))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSecretsComeFromFilesAndAreNeverPrinted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hush-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig("c.yaml", []byte("gitops: {main: {url: /x, auth: {passwordFile: "+file+"}}}\nserver: {adminToken: \"${TOKEN}\"}\ncharts: [{url: https://c.example, passwordFile: "+file+"}]\nenvironments: [{name: staging}]\n"),
		environment(map[string]string{"TOKEN": "sesame"}))
	if err != nil {
		t.Fatal(err)
	}
	if c.GitOps["main"].Auth.Password.Reveal() != "hush-hush" || c.Charts[0].Password.Reveal() != "hush-hush" || c.Server.AdminToken.Reveal() != "sesame" {
		t.Error("a secret was not read")
	}
	var out bytes.Buffer
	log, err := newLog(LogConfig{Level: "info", Format: "json"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("configuration", "config", c, "token", c.Server.AdminToken)
	if text := out.String(); strings.Contains(text, "hush") || strings.Contains(text, "sesame") {
		t.Error(text)
	}
}

func TestExitStatuses(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.yaml")
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	for file, text := range map[string]string{good: "gitops: {main: {url: /x}}\nenvironments: [{name: staging}]\n", bad: "x: 1\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, exitDone},
		{[]string{"--help"}, exitDone},
		{[]string{"config", "check", good}, exitDone},
		{[]string{"config", "check", bad}, exitFailed},
		{[]string{"serve", "--config", bad}, exitFailed},
		{[]string{"healthcheck", "--url", "http://127.0.0.1:1/readyz"}, exitFailed},
		{[]string{"nonsense"}, exitUsage},
		{[]string{"serve"}, exitUsage},
		{nil, exitUsage},
	} {
		var out, errOut bytes.Buffer
		if got := run(c.args, strings.NewReader(""), &out, &errOut); got != c.want {
			t.Errorf("%v: status %d, want %d\n%s%s", c.args, got, c.want, &out, &errOut)
		}
	}
}

// FuzzConfig reads configurations that nobody has written. What is accepted can be used, and what is not says where.
func FuzzConfig(f *testing.F) {
	example, err := os.ReadFile("config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("gitops: {main: {url: /x}}\nenvironments: [{name: staging}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig("c.yaml", text, environment(nil))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "c.yaml") {
				t.Errorf("where is that? %q", err)
			}
			return
		}
		if _, err := c.environments(); err != nil {
			t.Errorf("it was accepted: %v", err)
		}
	})
}
