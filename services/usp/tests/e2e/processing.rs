//! Rules, runs and steps, and files that are not what they should be.

mod hostile;
mod rules;
mod runs;

/// Takes tables under `orders/` whose first column must be a number; tries once.
pub(super) const ORDERS_RULE: &str = "\
name: orders
description: orders have a number
when: file.key.startsWith('orders/')
steps:
  - name: check
    uses: validate
    with:
      columns:
        - {name: order_id, type: integer}
retry: {attempts_max: 1}
";
