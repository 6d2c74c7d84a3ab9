// Configuration of the catalog's site. The pages are generated: see docs/catalog/README.md.
export default {
  cId: "3f6d0f5e-6a4b-4a7d-9a63-6f0b4d4c2a11",
  title: "Checkout saga",
  tagline: "Every cart ends with one order, or with nothing held.",
  organizationName: "Checkout",
  homepageLink: "http://localhost:3000",
  landingPage: "/visualiser/flows/checkout",
  trailingSlash: false,
  base: "/",
  output: "static",
};
