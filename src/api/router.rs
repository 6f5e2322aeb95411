//! Finds the route of a request: one walk over the path's segments, whatever the number of routes.
//! Used instead of the framework's own routing, which tries one regular expression after another,
//! can't say which methods a path has, and tells the matched pattern only by matching again.

use std::borrow::Cow;

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;

use crate::routes::Route;

/// The most parameters that a path has.
const PARAMETERS_MAX: usize = 4;

/// The tree of all routes.
#[derive(Debug)]
pub(crate) struct Router {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: Vec<(&'static str, usize)>,
    parameter: Option<usize>,
    methods: Vec<(Method, usize)>,
}

/// Where in a path its parameters are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parameters {
    spans: [(u16, u16); PARAMETERS_MAX],
    count: usize,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// The route at this index.
    Route(usize, Parameters),
    /// The path is known, but not with this method: these it has.
    OtherMethods(HeaderValue),
    /// Nothing.
    Nothing,
}

impl Router {
    /// The tree of `routes`; an index found is one of this list.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut router = Self { nodes: vec![Node::default()] };
        for (index, route) in routes.iter().enumerate() {
            let mut node = 0;
            for segment in route.pattern[1..].split('/') {
                node = router.step(node, segment);
            }
            router.nodes[node].methods.push((route.method.clone(), index));
        }
        router
    }

    /// The node below `node` for a pattern's segment; made where it is missing.
    fn step(&mut self, node: usize, segment: &'static str) -> usize {
        let new = self.nodes.len();
        let next = if segment.starts_with('{') {
            *self.nodes[node].parameter.get_or_insert(new)
        } else {
            let literals = &mut self.nodes[node].literals;
            match literals.iter().find(|(literal, _)| *literal == segment) {
                Some((_, next)) => *next,
                None => {
                    literals.push((segment, new));
                    new
                }
            }
        };
        if next == new {
            self.nodes.push(Node::default());
        }
        next
    }

    /// What `method` and `path` lead to. HEAD is served by GET.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let mut parameters = Parameters::default();
        let Some(node) = self.walk(path, &mut parameters) else { return Found::Nothing };
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        match node.methods.iter().find(|(method, _)| method == wanted) {
            Some((_, index)) => Found::Route(*index, parameters),
            None if node.methods.is_empty() => Found::Nothing,
            None => Found::OtherMethods(node.allow()),
        }
    }

    fn walk(&self, path: &str, parameters: &mut Parameters) -> Option<&Node> {
        let mut node = &self.nodes[0];
        let mut start = usize::from(path.starts_with('/'));
        if start == 0 {
            return None;
        }
        loop {
            let end = path[start..].find('/').map_or(path.len(), |slash| start + slash);
            let segment = &path[start..end];
            let literal = node.literals.iter().find(|(literal, _)| *literal == segment);
            let next = match (literal, node.parameter) {
                (Some((_, next)), _) => *next,
                (None, Some(next)) if !segment.is_empty() => {
                    parameters.push(start, end)?;
                    next
                }
                _ => return None,
            };
            node = &self.nodes[next];
            if end == path.len() {
                return Some(node);
            }
            start = end + 1;
        }
    }
}

impl Node {
    fn allow(&self) -> HeaderValue {
        let mut names: Vec<&str> = self.methods.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Parameters {
    fn push(&mut self, start: usize, end: usize) -> Option<()> {
        let span = (u16::try_from(start).ok()?, u16::try_from(end).ok()?);
        *self.spans.get_mut(self.count)? = span;
        self.count += 1;
        Some(())
    }

    /// The parameter at `index`, with its percent signs decoded.
    pub(crate) fn get<'a>(&self, path: &'a str, index: usize) -> Cow<'a, str> {
        let (start, end) = self.spans.get(index).copied().unwrap_or_default();
        let raw = path.get(usize::from(start)..usize::from(end)).unwrap_or_default();
        if raw.contains('%') {
            percent_encoding::percent_decode_str(raw).decode_utf8_lossy()
        } else {
            Cow::Borrowed(raw)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn every_route_is_found_by_its_own_pattern() {
        let router = Router::new(ROUTES);
        for (index, route) in ROUTES.iter().enumerate() {
            let path = route.pattern.replace(['{', '}'], "");
            match router.find(&route.method, &path) {
                Found::Route(found, parameters) => {
                    assert_eq!(found, index, "{path}");
                    assert_eq!(parameters.count, route.pattern.matches('{').count());
                }
                other => panic!("{path}: {other:?}"),
            }
            let Found::OtherMethods(allow) = router.find(&Method::TRACE, &path) else {
                panic!("{path}: TRACE");
            };
            assert!(allow.to_str().unwrap().contains(route.method.as_str()));
        }
    }

    #[test]
    fn what_is_no_route_is_not_found() {
        let router = Router::new(ROUTES);
        for path in [
            "",
            "*",
            "/",
            "//",
            "/healthz/",
            "/v1",
            "/v1/projects/",
            "/v1/projects/p/",
            "/v1//x",
            "/v1/projects/p/collections/c/documents/d/history/x",
            "/a/b/c/d/e/f/g/h/i/j",
        ] {
            assert!(matches!(router.find(&Method::GET, path), Found::Nothing), "{path}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let router = Router::new(ROUTES);
        let path = "/v1/projects/a%2Db/collections/c/documents/%ff%2F";
        let Found::Route(_, parameters) = router.find(&Method::GET, path) else { panic!() };
        assert_eq!(parameters.get(path, 0), "a-b");
        assert_eq!(parameters.get(path, 1), "c");
        assert_eq!(parameters.get(path, 2), "\u{fffd}/");
    }
}
