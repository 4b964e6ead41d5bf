#include "cli/table.hpp"

#include <gtest/gtest.h>

namespace nagaya::cli {
namespace {

const Table table{{"name", "state"}, {{"kvm", "ok"}, {"größe", "a \"b\", c"}}};

TEST(Table, Columns) { EXPECT_EQ(render(table, ""), "NAME   STATE\nkvm    ok\ngröße  a \"b\", c\n"); }

TEST(Table, Json) {
  EXPECT_EQ(render(table, "json"),
            "[\n  {\n    \"name\": \"kvm\",\n    \"state\": \"ok\"\n  },\n  {\n    \"name\": \"größe\",\n"
            "    \"state\": \"a \\\"b\\\", c\"\n  }\n]\n");
  EXPECT_EQ(render(Table{{"name"}, {}}, "json"), "[]\n");
}

TEST(Table, Yaml) {
  EXPECT_EQ(render(table, "yaml"), "- name: \"kvm\"\n  state: \"ok\"\n- name: \"größe\"\n  state: \"a \\\"b\\\", c\"\n");
}

TEST(Table, Csv) { EXPECT_EQ(render(table, "csv"), "name,state\r\nkvm,ok\r\ngröße,\"a \"\"b\"\", c\"\r\n"); }

TEST(Table, BadUtf8DoesNotThrow) { EXPECT_NE(render(Table{{"a"}, {{"\xff\xfe"}}}, "json"), ""); }

}  // namespace
}  // namespace nagaya::cli
