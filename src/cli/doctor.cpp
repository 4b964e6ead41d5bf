#include "cli/doctor.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cli/table.hpp"

namespace nagaya::cli {

namespace {

std::string_view health_name(Health health) {
  switch (health) {
    case Health::ok: return "ok";
    case Health::limited: return "limited";
    case Health::missing: return "missing";
  }
  return "";
}

Result<int> run(const Parsed& options) {
  std::vector<Finding> findings = examine_host(HostView{});
  std::string format = options.last("format");
  bool for_people = format.empty() || format == "table";
  // A person reads the mending commands below the table, a program beside each row.
  Table table{{"check", "state", "detail"}, {}};
  if (!for_people) table.columns.push_back("mend");
  for (const Finding& finding : findings) {
    std::vector<std::string> row{finding.check, std::string(health_name(finding.health)), finding.detail};
    if (!for_people) row.push_back(finding.mend);
    table.rows.push_back(std::move(row));
  }
  std::string out = render(table, format);
  if (for_people) {
    bool first = true;
    for (const Finding& finding : findings) {
      if (finding.health == Health::ok || finding.mend.empty()) continue;
      if (std::exchange(first, false)) out += "\nTo mend:\n";
      out += fmt::format("  {}: {}\n", finding.check, finding.mend);
    }
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
  bool can_run = std::ranges::none_of(findings, [](const Finding& f) { return f.required && f.health == Health::missing; });
  return can_run ? 0 : 1;
}

}  // namespace

CommandSpec doctor_command() {
  return {
      .name = "doctor",
      .summary = "tell what this host offers, and how to mend what it lacks",
      .examples = {{"nagaya doctor", "a table for people, and the mending commands"},
                   {"nagaya doctor -f json", "the same for programs"}},
      .options = {{"-f,--format", "FORMAT", "table, json, yaml or csv", Completes::words, table_formats()}},
      .sections = {{"Exit code", "0 when machines can run here, 1 when something required is missing.", {}}},
      .run = run,
  };
}

}  // namespace nagaya::cli
