#!/bin/sh
# Writes planspec/: 200 resources in four namespaces, always the same ones.
# Each namespace has 13 goals, plans and executions (twelve months and the year), 6 capabilities, 4 bindings, 1 gate.
set -eu
cd "$(dirname "$0")"
rm -rf planspec

header() { # kind, name, namespace
  printf -- '---\napiVersion: planspec.io/v1alpha1\nkind: %s\nmetadata:\n  name: %s\n  namespace: %s\n' "$1" "$2" "$3"
}

capabilities() { # namespace
  for capability in add-up compare review publish archive announce; do
    header Capability "$capability" "$1"
    printf 'spec:\n  description: Can %s the figures of %s\n' "$capability" "$1"
    if [ "$capability" = compare ]; then printf '  requirements: [{ name: add-up }]\n'; fi
    if [ "$capability" = review ]; then printf '  requirements: [{ name: compare }]\n'; fi
  done
}

rule() { # capability, arguments
  cat <<EOF
    - selector: { capabilityRef: { name: $1 } }
      target:
        provider: tool://$1
        config: { command: tools/$1.sh, args: $2 }
EOF
}

bindings() { # namespace
  header Binding months "$1"
  printf 'spec:\n  rules:\n'
  rule add-up '"${{ inputs.values }}"'
  rule compare '["${{ inputs.total }}", "${{ inputs.budget }}"]'
  header Binding year "$1"
  printf 'spec:\n  rules:\n'
  rule review '["${{ inputs.title }}"]'
  rule publish '["${{ inputs.title }}"]'
  header Binding archive "$1"
  printf 'spec:\n  rules:\n'
  rule archive '["${{ inputs.title }}"]'
  header Binding default "$1"
  printf 'spec:\n  rules:\n'
  rule announce '["${{ inputs.title }}"]'
}

gate() { # namespace
  header Gate year-end "$1"
  cat <<EOF
spec:
  gateType: sign-off
  description: A controller signs the year off
  targetRef: { kind: Plan, name: year, nodeId: sign-off }
  reviewers: ["team:controllers"]
EOF
}

month() { # namespace, month, three values
  header Goal "month-$2" "$1"
  cat <<EOF
spec:
  description: The figures of month $2 are added up and within the budget
  constraints: { budget: 250 }
  priority: $((100 - ${2#0}))
EOF
  header Plan "month-$2" "$1"
  cat <<EOF
  labels: { planspec.io/goal: month-$2 }
spec:
  description: Add the figures of month $2 up, then compare them with the budget
  goalRef: { name: month-$2 }
  graph:
    nodes:
      - id: add-up
        kind: Task
        capabilityRefs: [{ name: add-up }]
        inputs: { values: "\${{ parameters.values }}" }
        outputs: [total]
      - id: compare
        kind: Task
        dependsOn: [add-up]
        capabilityRefs: [{ name: compare }]
        inputs: { total: "\${{ nodes['add-up'].outputs.total }}", budget: "\${{ goal.constraints.budget }}" }
EOF
  header Execution "month-$2" "$1"
  cat <<EOF
spec:
  goalRef: { name: month-$2 }
  planRef: { name: month-$2 }
  bindingRef: { name: months }
  parameters: { values: [$3, $4, $5] }
EOF
}

year() { # namespace
  header Goal year "$1"
  printf 'spec:\n  description: The year is signed off, published and archived\n  priority: 10\n'
  header Plan year "$1"
  cat <<EOF
spec:
  description: Wait for the twelve months, review the year, have it signed off, publish and archive it
  goalRef: { name: year }
  graph:
    nodes:
EOF
  all=
  for month in 01 02 03 04 05 06 07 08 09 10 11 12; do
    printf '      - id: month-%s\n        kind: External\n' "$month"
    printf '        externalRef: { type: resource, resourceRef: { kind: Execution, name: month-%s } }\n' "$month"
    all="$all${all:+, }month-$month"
  done
  cat <<EOF
      - id: review
        kind: Task
        dependsOn: [$all]
        capabilityRefs: [{ name: review }]
        inputs: { title: $1 }
      - id: sign-off
        kind: Gate
        dependsOn: [review]
        gateRef: { name: year-end }
      - id: publish
        kind: Task
        dependsOn: [sign-off]
        capabilityRefs: [{ name: publish }]
        inputs: { title: $1 }
      - id: archive
        kind: Task
        dependsOn: [sign-off]
        capabilityRefs: [{ name: archive }]
        inputs: { title: $1 }
      - id: announce
        kind: Task
        dependsOn: [publish, archive]
        capabilityRefs: [{ name: announce }]
        inputs: { title: $1 }
EOF
  header Execution year "$1"
  cat <<EOF
spec:
  goalRef: { name: year }
  planRef: { name: year }
  nodeBindings:
    review: { name: year }
    publish: { name: year }
    archive: { name: archive }
EOF
}

step=7
for namespace in energy fleet support travel; do
  mkdir -p "planspec/$namespace"
  capabilities "$namespace" > "planspec/$namespace/capabilities.yaml"
  bindings "$namespace" > "planspec/$namespace/bindings.yaml"
  gate "$namespace" > "planspec/$namespace/gate.yaml"
  for month in 01 02 03 04 05 06 07 08 09 10 11 12; do
    n=${month#0}
    month "$namespace" "$month" $((n * step % 60)) $((n * n % 90)) $((step + n)) > "planspec/$namespace/month-$month.yaml"
  done
  year "$namespace" > "planspec/$namespace/year.yaml"
  step=$((step + 4))
done
