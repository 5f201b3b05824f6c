package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"os/user"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gimletd/releases"
)

// configEvery is how often the configuration's file is looked at.
const configEvery = time.Second

// viaConfig is the door of who changes the configuration.
const viaConfig = "configuration"

// serveForever serves, and, whenever the configuration changes to another good one, serves with that: the process begins anew
// inside, on the same listeners, so that callers wait for a moment and nobody is refused.
func serveForever(ctx context.Context, p process) error {
	p.hangups = make(chan os.Signal, 1)
	signal.Notify(p.hangups, syscall.SIGHUP)
	defer signal.Stop(p.hangups)
	p.sockets = &sockets{kept: map[string]*net.TCPListener{}}
	defer p.sockets.close()
	defer context.AfterFunc(ctx, p.sockets.close)() // who calls when it is to end is refused at once
	before := p.config
	for {
		p.reloaded = nil
		err := p.run(ctx)
		switch {
		case ctx.Err() != nil || (err == nil && p.reloaded == nil):
			return err
		case p.reloaded != nil && errors.Is(err, errLingers):
			return err // whoever started it starts it again, with the new configuration
		case p.reloaded != nil:
			if err != nil {
				p.log.Warn("not everything ended well before the new configuration", "err", err)
			}
			log, logErr := newLog(p.reloaded.Log, p.errOut)
			if logErr != nil {
				return logErr // validated before
			}
			before, p.config, p.log, p.refused = p.config, *p.reloaded, log, nil
			p.secrets = secretsChanged(before, p.config)
		case p.ready || reflect.DeepEqual(before, p.config):
			return err
		default: // it was good to read, and does not work
			p.log.Error("the new configuration does not work; going on with the one before", "err", err)
			p.config, p.refused, p.secrets, p.fellBack = before, fmt.Errorf("it does not work: %w", err), nil, true
			if p.log, err = newLog(before.Log, p.errOut); err != nil {
				return err
			}
		}
	}
}

// sockets keeps the listeners open while the process begins anew: who calls meanwhile waits in the kernel's queue.
type sockets struct {
	mu   sync.Mutex
	kept map[string]*net.TCPListener // by what they are for, and their address
}

// listen returns a listener, whose end does not end the socket. It is named by what it is for and its address.
func (s *sockets) listen(ctx context.Context, name string) (net.Listener, error) {
	var config net.ListenConfig
	_, address, _ := strings.Cut(name, " ")
	if s == nil {
		return config.Listen(ctx, "tcp", address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.kept[name]
	if kept == nil {
		made, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		tcp, ok := made.(*net.TCPListener)
		if !ok {
			return made, nil
		}
		kept = tcp
		s.kept[name] = tcp
	}
	file, err := kept.File()
	if err != nil {
		return nil, err
	}
	copied, err := net.FileListener(file)
	return copied, errors.Join(err, file.Close())
}

// drop closes the sockets that are not used any more.
func (s *sockets) drop(used ...string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.kept {
		if !slices.Contains(used, name) {
			_ = l.Close()
			delete(s.kept, name)
		}
	}
}

func (s *sockets) close() { s.drop() }

// watchConfig looks whether the configuration's file has changed, or SIGHUP asks for it to be read again, and ends the process's
// round when there is another good one. One that is bad is told, and changes nothing.
func (p *process) watchConfig(ctx context.Context, service *releases.Service, loops *releases.Loops, stop func()) error {
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	last := p.print // what stood in it at the look before
	for {
		loops.Beat("configuration", time.Now(), p.refused)
		how := "file"
		select {
		case <-tick.C:
		case <-p.hangups:
			how = "SIGHUP"
		case <-ctx.Done():
			return nil
		}
		text, err := os.ReadFile(p.file)
		seen := sha256.Sum256(text)
		if how == "file" {
			still := seen == last
			last = seen
			if err != nil || seen == p.print || !still { // it is as it was, or is being written
				continue
			}
		}
		p.print = seen
		var fresh Config
		if err == nil {
			fresh, err = parseConfig(p.file, text, os.LookupEnv)
		}
		switch {
		case err != nil:
			p.refuse(ctx, service, how, err)
		case reflect.DeepEqual(fresh, p.config):
			p.refused = nil
			p.log.Info("the configuration was read again; nothing has changed", "how", how)
		default:
			p.reloaded, p.how = &fresh, how
			p.log.Info("the configuration has changed; beginning anew with it", "how", how)
			stop()
			return nil
		}
	}
}

// refuse tells that a configuration is bad, once for each fault.
func (p *process) refuse(ctx context.Context, service *releases.Service, how string, fault error) {
	known := p.refused != nil && p.refused.Error() == fault.Error()
	p.refused = fault
	defer p.log.Error("the new configuration is bad; going on with the one before", "how", how, "faults", fault)
	if known {
		return
	}
	if err := service.ConfigRefused(ctx, fault.Error(), p.configurer(how)); err != nil {
		p.log.Error("that the configuration was refused is not in the audit", "err", err)
	}
}

// configurer is who has changed the configuration, as far as the file tells.
func (p *process) configurer(how string) releases.Actor {
	name := "unknown"
	if info, err := os.Stat(p.file); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			id := strconv.FormatUint(uint64(stat.Uid), 10)
			name = "uid " + id
			if u, err := user.LookupId(id); err == nil {
				name = u.Username
			}
		}
	}
	return releases.Actor{Name: name, Via: viaConfig, User: how}
}

// configured records the configuration that comes into force.
func (p *process) configured(ctx context.Context, service *releases.Service) error {
	if p.file == "" {
		return nil
	}
	if p.fellBack {
		p.fellBack = false
		return service.ConfigRefused(ctx, p.refused.Error(), p.configurer(p.how))
	}
	how := p.how
	if how == "" {
		how = "start"
	}
	changes, err := service.Configured(ctx, settings(p.config, false), p.secrets, p.configurer(how))
	if len(changes) > 0 {
		p.log.Info("the configuration is in force", "how", how, "changes", releases.Redact(strings.Join(changes, "; ")))
	}
	return err
}

// settings flattens a configuration: by key, with the names of what has one. Of secrets only that they are set is said, unless
// they are revealed.
func settings(c Config, reveal bool) map[string]string {
	all := map[string]string{}
	flatten("", reflect.ValueOf(c), reveal, all)
	return all
}

func flatten(path string, v reflect.Value, reveal bool, into map[string]string) {
	if secret, ok := reflect.TypeAssert[releases.Secret](v); ok {
		switch {
		case secret == "":
		case reveal:
			into[path] = secret.Reveal()
		default:
			into[path] = "(secret)"
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			flatten(path, v.Elem(), reveal, into)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			flatten(under(path, v.Type().Field(i).Tag.Get("yaml")), v.Field(i), reveal, into)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			flatten(under(path, key.String()), v.MapIndex(key), reveal, into)
		}
	case reflect.Slice:
		for i := range v.Len() {
			flatten(path+"["+elementName(v.Index(i), i)+"]", v.Index(i), reveal, into)
		}
	default:
		if !v.IsZero() {
			text := fmt.Sprint(v.Interface())
			if address, query, ok := strings.Cut(text, "?"); ok && query != "" && strings.Contains(address, "://") {
				text = address + "?…" // where secrets may stand
			}
			into[path] = text
		}
	}
}

// elementName names an element of a list: by its name, its e-mail address, its URL, or its place.
func elementName(v reflect.Value, i int) string {
	if v.Kind() == reflect.Struct {
		for _, field := range []string{"Name", "Email", "URL"} {
			if f := v.FieldByName(field); f.IsValid() && f.Kind() == reflect.String && f.String() != "" {
				return f.String()
			}
		}
	}
	return strconv.Itoa(i)
}

// secretsChanged are the keys of secrets that are not as before.
func secretsChanged(before, now Config) (keys []string) {
	was, is := settings(before, true), settings(now, true)
	for key, masked := range settings(now, false) {
		if masked == "(secret)" && was[key] != "" && was[key] != is[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
