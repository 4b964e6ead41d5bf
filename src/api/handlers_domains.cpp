// The life cycle of domains.
#include <fmt/format.h>

#include "api/core.hpp"
#include "api/static_files.hpp"

namespace nagaya::api {
namespace {

// A definition's ETag is the first half; the second changes with what else the answer shows. So a change is refused when the
// definition has changed, and a copy is old when anything has.
std::string definition_tag(const Json& detail) {
  const std::string tag = etag_of(detail.value("definition", Json::object()).dump(-1, ' ', false, Json::error_handler_t::replace));
  return tag.substr(1, tag.size() - 2);
}

Reply detail_reply(const Json& detail) {
  Reply out = json_reply(detail);
  out.etag = fmt::format("\"{}.{}", definition_tag(detail), etag_of(std::get<std::string>(out.body)).substr(1));
  return out;
}

bool admits(const std::string& if_match, const std::string& tag) {
  for (std::size_t at = 0; at < if_match.size();) {
    const std::size_t end = std::min(if_match.find(',', at), if_match.size());
    std::string_view one = std::string_view(if_match).substr(at, end - at);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    // RFC 9110, 13.1.1: the strong comparison; weak tags match nothing.
    if (one == "*" || (one.starts_with('"') && one.substr(1, one.find_first_of(".\"", 1) - 1) == tag)) return true;
    at = end + 1;
  }
  return false;
}

Answer<Reply> list_domains(Core& core, Call& call) {
  const auto all = core.backend.domains().list();
  if (!all) return std::unexpected(problem_of(all.error()));
  const Json& p = call.parameters;
  const std::string label = call.text("label"), key = label.substr(0, label.find('='));
  Json out = Json::array();
  for (const Json& domain : *all) {
    if (!sees(call.caller, domain.value("project", ""))) continue;
    if (p.contains("kind") && domain.value("kind", "") != call.text("kind")) continue;
    if (p.contains("state") && domain.value("state", "") != call.text("state")) continue;
    if (p.contains("project") && domain.value("project", "") != call.text("project")) continue;
    if (!label.empty()) {
      const Json labels = domain.value("labels", Json::object());
      if (!labels.contains(key)) continue;
      if (key.size() != label.size() && labels[key] != label.substr(key.size() + 1)) continue;
    }
    out.push_back(domain);
  }
  return json_reply(out);
}

// Named volumes belong to projects, too: a definition must not reach for those of others.
Answer<> may_mount(Core& core, const Call& call) {
  if (!call.caller.confined() || !call.body.contains("volumes")) return {};
  const auto volumes = core.backend.objects().volumes();
  if (!volumes) return std::unexpected(problem_of(volumes.error()));
  for (const Json& text : call.body["volumes"]) {
    const std::string name = text.get<std::string>().substr(0, text.get<std::string>().find(':'));
    for (const Json& volume : *volumes) {
      if (volume.value("name", "") != name) continue;
      if (auto ok = may_use(call.caller, volume.value("project", default_project), "volume", name); !ok) return ok;
    }
  }
  return {};
}

Answer<Reply> create_domain(Core& core, Call& call) {
  Json definition = call.body;
  Domains& domains = core.backend.domains();
  if (auto ok = may_mount(core, call); !ok) return std::unexpected(ok.error());
  if (!definition.contains("project")) definition["project"] = call.caller.confined() ? call.caller.projects[0] : default_project;
  if (!definition.contains("name")) {
    auto name = domains.fresh_name(definition);
    if (!name) return std::unexpected(problem_of(name.error()));
    definition["name"] = *name;
  } else if (domains.project(definition["name"].get<std::string>())) {
    return refuse(409, fmt::format("there is a domain '{}' already", definition["name"].get<std::string>()), "name");
  }
  const std::string name = definition["name"], project = definition["project"];
  const bool start = call.flag("start");
  return start_operation(core, call, {.kind = "create", .target = name, .key = "domain " + name, .project = project, .cancellable = true},
                         [project] { return Result<std::string>(project); },
                         [&domains, definition, name, start](Task& task) -> Result<> {
                           TRY(domains.create(definition, task));
                           if (start) TRY(domains.act(name, Verb::start, Json::object(), task));
                           return {};
                         });
}

Answer<Reply> get_domain(Core& core, Call& call) {
  const auto detail = core.backend.domains().get(call.text("domain"));
  if (!detail) return std::unexpected(problem_of(detail.error()));
  return detail_reply(*detail);
}

Answer<Reply> update_domain(Core& core, Call& call) {
  const std::string name = call.text("domain");
  if (auto ok = may_define(call.caller, call.body); !ok) return std::unexpected(ok.error());
  // Between the comparison and the change nobody else may change it.
  const auto held = core.operations.hold("domain " + name);
  if (!held) return std::unexpected(held.error());
  auto detail = core.backend.domains().get(name);
  if (!detail) return std::unexpected(problem_of(detail.error()));
  if (!call.if_match.empty() && !admits(call.if_match, definition_tag(*detail))) {
    return refuse(412, "the definition has changed since", {}, "get it again");
  }
  if (auto done = core.backend.domains().update(name, call.body); !done) return std::unexpected(problem_of(done.error()));
  detail = core.backend.domains().get(name);
  if (!detail) return std::unexpected(problem_of(detail.error()));
  return detail_reply(*detail);
}

Answer<Reply> put_domain(Core& core, Call& call) {
  Json document = call.body;
  Domains& domains = core.backend.domains();
  const std::string name = call.text("domain");
  if (document.value("name", name) != name) return refuse(400, "name: it is another than the path's", "name");
  document["name"] = name;
  if (auto ok = may_mount(core, call); !ok) return std::unexpected(ok.error());
  std::string project = document.value("project", call.caller.confined() ? call.caller.projects[0] : std::string(default_project));
  if (const auto now = domains.get(name)) {
    // What is there stays in its project, unless the definition says another; either must be the caller's.
    const std::string present = now->value("project", default_project);
    if (auto ok = may_use(call.caller, present, "domain", name); !ok) return std::unexpected(ok.error());
    project = document.value("project", present);
    if (!document.contains("kind")) document["kind"] = now->value("kind", "container");
  } else if (!document.contains("kind")) {
    return refuse(400, "kind: it is missing", "kind");
  }
  document["project"] = project;
  const auto plan = domains.plan(document);
  if (!plan) return std::unexpected(problem_of(plan.error()));
  if (call.flag("dryRun")) return json_reply(*plan);
  const ApplyFlags flags{.restart = call.flag("restart"), .recreate = call.flag("recreate"), .start = call.flag("start")};
  const std::string action = plan->value("action", "");
  if (action == "recreate" && !flags.recreate) return refuse(409, fmt::format("'{}' must be made anew, and what it has written would be lost", name), {}, "allow it with 'recreate'");
  if (action == "restart" && !flags.restart && !flags.recreate) return refuse(409, fmt::format("'{}' must be restarted", name), {}, "allow it with 'restart'");
  const bool exists = action != "create";
  return start_operation(core, call, {.kind = "apply", .target = name, .key = "domain " + name, .project = project, .cancellable = true},
                         [&domains, name, project, exists] { return exists ? domains.project(name) : Result<std::string>(project); },
                         [&domains, document, flags](Task& task) { return domains.apply(document, flags, task); });
}

Answer<Reply> delete_domain(Core& core, Call& call) {
  Domains& domains = core.backend.domains();
  const std::string name = call.text("domain");
  const auto project = domains.project(name);
  if (!project) return std::unexpected(problem_of(project.error()));
  return start_operation(core, call, {.kind = "delete", .target = name, .key = "domain " + name, .project = *project},
                         [&domains, name] { return domains.project(name); },
                         [&domains, name, force = call.flag("force")](Task& task) { return domains.remove(name, force, task); });
}

Answer<Reply> act_on_domain(Core& core, Call& call) {
  static const std::map<std::string, Verb> verbs = {{"start", Verb::start},   {"stop", Verb::stop},     {"restart", Verb::restart}, {"kill", Verb::kill},
                                                    {"pause", Verb::pause},   {"resume", Verb::resume}, {"rename", Verb::rename}};
  Domains& domains = core.backend.domains();
  const std::string name = call.text("domain"), action = call.text("action");
  const Verb verb = verbs.at(action);
  const Json body = call.body.is_object() ? call.body : Json::object();
  if (verb == Verb::rename && !body.contains("name")) return refuse(400, "name: it is missing", "name");
  if (verb != Verb::rename && body.contains("name")) return refuse(400, "name: only rename takes it", "name");
  if (verb != Verb::kill && body.contains("signal")) return refuse(400, "signal: only kill takes it", "signal");
  if (verb != Verb::stop && verb != Verb::restart && body.contains("timeout")) return refuse(400, "timeout: only stop and restart take it", "timeout");
  const auto project = domains.project(name);
  if (!project) return std::unexpected(problem_of(project.error()));
  const bool waits = verb == Verb::stop || verb == Verb::restart || verb == Verb::start;
  return start_operation(
      core, call,
      {.kind = action, .target = name, .key = "domain " + name, .project = *project, .cancellable = waits, .beside = verb == Verb::kill},
      [&domains, name] { return domains.project(name); }, [&domains, name, verb, body](Task& task) { return domains.act(name, verb, body, task); });
}

Answer<Reply> get_stats(Core& core, Call& call) {
  const auto stats = core.backend.domains().stats(call.text("domain"));
  if (!stats) {
    // Nothing runs whose counters could be read: that is its state, not the host's.
    if (stats.error().code == ENOTCONN) return refuse(409, stats.error().message());
    return std::unexpected(problem_of(stats.error()));
  }
  return json_reply(*stats);
}

Answer<Reply> list_stats(Core& core, Call& call) {
  const auto all = core.backend.domains().list();
  if (!all) return std::unexpected(problem_of(all.error()));
  Json out = Json::object();
  for (const Json& domain : *all) {
    const std::string state = domain.value("state", ""), name = domain.value("name", "");
    if (!sees(call.caller, domain.value("project", "")) || (state != "running" && state != "paused")) continue;
    if (auto stats = core.backend.domains().stats(name)) out[name] = std::move(*stats);
  }
  return json_reply(out);
}

Answer<Reply> wait_for_domain(Core& core, Call& call) {
  const auto ended = core.backend.domains().ended(call.text("domain"));
  if (!ended) return std::unexpected(problem_of(ended.error()));
  if (*ended) return json_reply({{"ended", true}, {"exitCode", **ended}});
  const auto patience = std::chrono::seconds(call.parameters.value("timeout", 60));
  if (std::chrono::steady_clock::now() < call.begun + patience) return Reply{.body = Again{}};
  return json_reply({{"ended", false}});
}

constexpr HandlerEntry handlers[] = {
    {"listDomains", list_domains},   {"createDomain", create_domain}, {"getDomain", get_domain}, {"updateDomain", update_domain},
    {"putDomain", put_domain},
    {"deleteDomain", delete_domain}, {"actOnDomain", act_on_domain},  {"getStats", get_stats},   {"listStats", list_stats},
    {"waitForDomain", wait_for_domain},
};

}  // namespace

std::span<const HandlerEntry> domain_handlers() { return handlers; }

Answer<Reply> start_operation(Core& core, const Call& call, Operations::Wanted wanted, std::function<Result<std::string>()> project_now,
                              std::function<Result<>(Task&)> work) {
  const auto acting = [&core, caller = call.caller, operation = call.operation, target = wanted.target, project_now = std::move(project_now),
                       work = std::move(work)](Task& task) -> Answer<> {
    const auto now = core.tokens.renewed(caller);
    if (!now) return refuse(403, fmt::format("{}'s token was withdrawn meanwhile", caller.name));
    if (auto ok = may_call(*now, operation->role, operation->scope, false); !ok) return ok;
    if (project_now) {
      const auto project = project_now();
      if (!project) return std::unexpected(problem_of(project.error()));
      if (auto ok = may_use(*now, *project, "domain", target); !ok) return ok;
    }
    return answer_of(work(task));
  };
  auto operation = core.operations.start(std::move(wanted), acting);
  if (!operation) return std::unexpected(operation.error());
  Reply out = json_reply(*operation, 202);
  out.headers.emplace_back("Location", "/v1/operations/" + operation->at("id").get<std::string>());
  return out;
}

}  // namespace nagaya::api
