//! Macros beyond the parser's own: comprehensions over keys and values, and `cel.bind`.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, operators,
};
use cel::parser::{Macro, MacroExprHelper};
use cel::{DeclarationError, Env, ParseError};

/// The function that comprehensions which make maps are written with.
pub(super) const MAP_INSERT: &str = "cel.@mapInsert";

const RESULT: &str = "@result";

type Args<'a> = (&'a mut Option<IdedExpr>, &'a mut Vec<IdedExpr>);
type Expanded = Result<Option<IdedExpr>, ParseError>;

/// Adds the macros to the parser's environment.
///
/// # Errors
/// When one is there already.
pub(super) fn add_to(env: &mut Env, bind: bool) -> Result<(), DeclarationError> {
    env.add_macro(Macro::receiver("all", 3, |helper, target, args| {
        quantified(helper, (target, args), |helper, condition| {
            let init = helper.next_expr(Expr::Literal(LiteralValue::Boolean(true.into())));
            let result = ident(helper, RESULT);
            let go_on = call(helper, operators::NOT_STRICTLY_FALSE, vec![result]);
            let result = ident(helper, RESULT);
            let step = call(helper, operators::LOGICAL_AND, vec![result, condition]);
            (init, go_on, step, ident(helper, RESULT))
        })
    }))?;
    env.add_macro(Macro::receiver("exists", 3, |helper, target, args| {
        quantified(helper, (target, args), |helper, condition| {
            let init = helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into())));
            let result = ident(helper, RESULT);
            let not = call(helper, operators::LOGICAL_NOT, vec![result]);
            let go_on = call(helper, operators::NOT_STRICTLY_FALSE, vec![not]);
            let result = ident(helper, RESULT);
            let step = call(helper, operators::LOGICAL_OR, vec![result, condition]);
            (init, go_on, step, ident(helper, RESULT))
        })
    }))?;
    for name in ["exists_one", "existsOne"] {
        env.add_macro(Macro::receiver(name, 3, |helper, target, args| {
            quantified(helper, (target, args), |helper, condition| {
                let init = int(helper, 0);
                let go_on = helper.next_expr(Expr::Literal(LiteralValue::Boolean(true.into())));
                let (result, one) = (ident(helper, RESULT), int(helper, 1));
                let more = call(helper, operators::ADD, vec![result, one]);
                let same = ident(helper, RESULT);
                let step = call(helper, operators::CONDITIONAL, vec![condition, more, same]);
                let (result, one) = (ident(helper, RESULT), int(helper, 1));
                let is_one = call(helper, operators::EQUALS, vec![result, one]);
                (init, go_on, step, is_one)
            })
        }))?;
    }
    for count in [3, 4] {
        env.add_macro(Macro::receiver("transformList", count, |helper, target, args| {
            transformed(helper, (target, args), Making::List)
        }))?;
        env.add_macro(Macro::receiver("transformMap", count, |helper, target, args| {
            transformed(helper, (target, args), Making::Map)
        }))?;
        env.add_macro(Macro::receiver("transformMapEntry", count, |helper, target, args| {
            transformed(helper, (target, args), Making::Entries)
        }))?;
    }
    if bind {
        env.add_macro(Macro::receiver("bind", 3, |helper, target, args| {
            let is_cel = target
                .as_ref()
                .is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "cel"));
            if !is_cel {
                return Ok(None);
            }
            let (Some(result), Some(init), Some(name)) = (args.pop(), args.pop(), args.pop()) else {
                return Ok(None);
            };
            let Expr::Ident(name) = name.expr else {
                return Err(helper.new_error(name.id, "cel.bind() variable names must be simple identifiers"));
            };
            let range = helper.next_expr(Expr::List(ListExpr::new(Vec::new())));
            let never = helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into())));
            let step = ident(helper, &name);
            Ok(Some(helper.next_expr(Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range: range,
                iter_var: "#unused".to_owned(),
                iter_var2: None,
                accu_var: name,
                accu_init: init,
                loop_cond: never,
                loop_step: step,
                result,
            })))))
        }))?;
    }
    Ok(())
}

/// The parts of a comprehension: initial value, condition to go on, step, result.
type Parts = (IdedExpr, IdedExpr, IdedExpr, IdedExpr);

fn quantified(
    helper: &mut MacroExprHelper<'_>,
    (target, args): Args<'_>,
    parts: impl Fn(&mut MacroExprHelper<'_>, IdedExpr) -> Parts,
) -> Expanded {
    let (Some(condition), Some(second), Some(first)) = (args.pop(), args.pop(), args.pop()) else {
        return Ok(None);
    };
    let names = variables(helper, first, second)?;
    let parts = parts(helper, condition);
    Ok(Some(comprehension(helper, target, names, parts)))
}

#[derive(Clone, Copy, PartialEq)]
enum Making {
    List,
    Map,
    Entries,
}

fn transformed(helper: &mut MacroExprHelper<'_>, (target, args): Args<'_>, making: Making) -> Expanded {
    let Some(transform) = args.pop() else { return Ok(None) };
    let filter = if args.len() == 3 { args.pop() } else { None };
    let (Some(second), Some(first)) = (args.pop(), args.pop()) else { return Ok(None) };
    let (key, value) = variables(helper, first, second)?;
    let init = match making {
        Making::List => helper.next_expr(Expr::List(ListExpr::new(Vec::new()))),
        _ => helper.next_expr(Expr::Map(MapExpr { entries: Vec::new() })),
    };
    let go_on = helper.next_expr(Expr::Literal(LiteralValue::Boolean(true.into())));
    let result = ident(helper, RESULT);
    let mut step = match making {
        Making::List => {
            let one = helper.next_expr(Expr::List(ListExpr::new(vec![transform])));
            call(helper, operators::ADD, vec![result, one])
        }
        Making::Map => {
            let key = ident(helper, &key);
            call(helper, MAP_INSERT, vec![result, key, transform])
        }
        Making::Entries => call(helper, MAP_INSERT, vec![result, transform]),
    };
    if let Some(filter) = filter {
        let same = ident(helper, RESULT);
        step = call(helper, operators::CONDITIONAL, vec![filter, step, same]);
    }
    let result = ident(helper, RESULT);
    Ok(Some(comprehension(helper, target, (key, value), (init, go_on, step, result))))
}

fn comprehension(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    (key, value): (String, String),
    (init, go_on, step, result): Parts,
) -> IdedExpr {
    helper.next_expr(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: target.take().unwrap_or_default(),
        iter_var: key,
        iter_var2: Some(value),
        accu_var: RESULT.to_owned(),
        accu_init: init,
        loop_cond: go_on,
        loop_step: step,
        result,
    })))
}

fn variables(
    helper: &MacroExprHelper<'_>,
    first: IdedExpr,
    second: IdedExpr,
) -> Result<(String, String), ParseError> {
    let name = |node: IdedExpr| match node.expr {
        Expr::Ident(name) => Ok(name),
        _ => Err(helper.new_error(node.id, "argument must be a simple name")),
    };
    let (first_id, first) = (first.id, name(first)?);
    let second = name(second)?;
    if first == second {
        return Err(helper.new_error(first_id, format!("duplicate variable name: {first}")));
    }
    Ok((first, second))
}

fn ident(helper: &mut MacroExprHelper<'_>, name: &str) -> IdedExpr {
    helper.next_expr(Expr::Ident(name.to_owned()))
}

fn int(helper: &mut MacroExprHelper<'_>, value: i64) -> IdedExpr {
    helper.next_expr(Expr::Literal(LiteralValue::Int(value.into())))
}

fn call(helper: &mut MacroExprHelper<'_>, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    helper.next_expr(Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }))
}
